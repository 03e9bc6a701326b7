"""The project without daphne among its apps, so that `runserver` is Django's own: WSGI."""

from progress_project.settings import *  # noqa: F403

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "daphne"]  # noqa: F405
