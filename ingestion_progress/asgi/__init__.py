"""What stands in front of Django: `BodyLimit(EventStreams(get_asgi_application()))`.

bodies   are counted, and refused before Django stores them
streams  go through Django's middleware in one step, and are written by the feed

And what is needed of the servers themselves, to be named in the commands that start them:

uvicorn  time for the head of a request, and chunks that streams share
daphne   the same time, a backlog, and bodies that are left to Django
"""

from ingestion_progress.asgi.body_limit import BodyLimit
from ingestion_progress.streams.asgi import EventStreams

__all__ = ["BodyLimit", "EventStreams"]
