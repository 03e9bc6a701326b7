"""The ASGI application, for daphne, uvicorn and granian alike."""

import gc
import importlib
import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from ingestion_progress.asgi import BodyLimit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_project.settings")

application = BodyLimit(get_asgi_application())

# The first visitor does not wait for the views, schemas and libraries behind the URLs to load.
importlib.import_module(settings.ROOT_URLCONF)

# What is loaded now stays: no collection has to look at it again, the last one least of all (it
# makes an idle server take 0.6 s to leave).
gc.freeze()
