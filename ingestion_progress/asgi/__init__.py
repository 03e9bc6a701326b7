"""What stands in front of Django: `BodyLimit(EventStreams(get_asgi_application()))`.

bodies   are counted, and refused before Django stores them
streams  go through Django's middleware in one step, and are written by the feed
"""

from ingestion_progress.asgi.bodies import BodyLimit, other_limit_bytes, upload_limit_bytes
from ingestion_progress.asgi.streams import EventStreams

__all__ = ["BodyLimit", "EventStreams", "other_limit_bytes", "upload_limit_bytes"]
