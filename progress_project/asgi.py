"""The ASGI application, for daphne, uvicorn and granian."""

import gc
import importlib
import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from ingestion_progress.asgi import BodyLimit, EventStreams

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_project.settings")

application = BodyLimit(EventStreams(get_asgi_application()))

# Loads the views, schemas and libraries behind the URLs now, not during the first request.
importlib.import_module(settings.ROOT_URLCONF)

# The loaded modules stay: freezing them keeps the garbage collector from scanning them again, also
# at exit, where it took an idle server 0.6 s. Most later objects belong to streams, which live long
# and have no cycles: collecting after every 700 objects took an eighth of the CPU.
gc.freeze()
gc.set_threshold(10_000, 20, 50)
