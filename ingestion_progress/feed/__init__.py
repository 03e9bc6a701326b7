"""The one source of frames in a process: rows are read once for any number of viewers.

selection      the jobs of a stream, its encoder, where it resumes, when it ends
subscription   one open stream: its phase, what is unsent, how it ends
mailbox        what is unsent, with one slot per job
output, sink   the bytes that its client receives, and where they are written
ending         why a stream ends
watched_job    one job's newest state, its subscribers and its throttle
active_jobs    the streams of all active jobs, and which ends were sent to them
watched_jobs   both of them: what a read compares with, and who receives its results
visible_jobs   what a rule of the project shows
visibility     which jobs a rule of the project shows on each stream of active jobs
queries        what changed in the database, encoded
poller         the loop: reads what is due, publishes what has changed
read_schedule  when the poller reads next, and which jobs
shutdown       streams that end before their job does: rotation, SIGTERM
feed           the subscriptions of the process; starts and stops the rest
"""

from ingestion_progress.feed.ending import AlreadyCurrent, EndReason
from ingestion_progress.feed.feed import Feed, get_feed
from ingestion_progress.feed.selection import Selection
from ingestion_progress.feed.sink import Sink
from ingestion_progress.feed.subscription import Subscription
from ingestion_progress.feed.visible_jobs import VisibleJobs

__all__ = [
    "AlreadyCurrent", "EndReason", "Feed", "Selection", "Sink", "Subscription", "VisibleJobs",
    "get_feed",
]  # fmt: skip
