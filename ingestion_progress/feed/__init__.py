"""The one source of frames in a process: rows are read once, however many people watch.

selection      which jobs a stream is about, its encoder, where it resumes, when it ends
subscription   one open stream: a mailbox, its phase, how it ends
watched_job    one job's newest state, its subscribers and its throttle
active_jobs    the streams of all active jobs, and which ends were sent to them
queries        what changed in the database, encoded
reader         the thread in which queries run
poller         the loop: reads what is due, publishes what has changed
read_schedule  when the poller reads next
shutdown       streams that end before their job does: rotation, SIGTERM
feed           who is subscribed; starts and stops the rest
"""

from ingestion_progress.feed.feed import Feed, get_feed
from ingestion_progress.feed.selection import Selection
from ingestion_progress.feed.subscription import (
    AlreadyCurrent,
    EndReason,
    Sink,
    Subscription,
)

__all__ = ["AlreadyCurrent", "EndReason", "Feed", "Selection", "Sink", "Subscription", "get_feed"]
