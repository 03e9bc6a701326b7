"""ASGI applications that wrap Django: `BodyLimit(EventStreams(get_asgi_application()))`.

BodyLimit     counts bodies, and refuses long ones before Django stores them
EventStreams  sends progress streams without Django's per-response task

`servers/` adapts uvicorn (a time limit for request headers, chunks shared between streams) and
daphne (the same limit, a listen backlog, bodies left to Django); their start commands name it.
"""

from ingestion_progress.asgi.body_limit import BodyLimit
from ingestion_progress.streams.asgi import EventStreams

__all__ = ["BodyLimit", "EventStreams"]
