"""Hints that say "this job has been written: look now", from writers to feeds.

A hint carries no state and may get lost: the feed reads the database anyway, at its next tick.

publish  what a writer calls after its COMMIT; it never waits and never fails
listen   what a feed runs while somebody watches
"""

from ingestion_progress.wakeups.listener import listen
from ingestion_progress.wakeups.publisher import publish

__all__ = ["listen", "publish"]
