"""The project behind Django's own handler, without `EventStreams` and `BodyLimit`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_project.settings")

application = get_asgi_application()
