"""The ASGI application, for daphne, uvicorn and granian alike."""

import gc
import importlib
import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from ingestion_progress.asgi import BodyLimit, EventStreams

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_project.settings")

application = BodyLimit(EventStreams(get_asgi_application()))

# The first visitor does not wait for the views, schemas and libraries behind the URLs to load.
importlib.import_module(settings.ROOT_URLCONF)

# What is loaded now stays: no collection has to look at it again, the last one least of all (it
# makes an idle server take 0.6 s to leave). And what comes later is mostly streams, which live long
# and make no cycles: looking for some after every 700 objects took an eighth of the CPU.
gc.freeze()
gc.set_threshold(10_000, 20, 50)
