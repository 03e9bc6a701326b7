"""The project, with objects in its admin that jobs are about."""

from progress_project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.support.about_admin_urls"
