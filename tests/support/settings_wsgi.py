"""The project without daphne in INSTALLED_APPS, so that `runserver` is Django's and uses WSGI."""

from progress_project.settings import *  # noqa: F403

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "daphne"]  # noqa: F405
