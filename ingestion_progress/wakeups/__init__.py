"""Notifications from writers to feeds: "this job was written, read it now".

They carry no state and may get lost: the feed reads the database at its next tick anyway.

publish  called by a writer after its COMMIT; never waits and never fails
listen   run by a feed while it has subscribers
"""

from ingestion_progress.wakeups.listener import listen
from ingestion_progress.wakeups.publisher import publish

__all__ = ["listen", "publish"]
