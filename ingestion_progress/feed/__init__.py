"""The one source of frames in a process: rows are read once, however many people watch.

subscribers  a mailbox per open stream
watches      one watched job: its newest state, who gets it, and when
reading      what changed in the database, encoded, in a thread of the feed's own
poller       when to read and when to publish
partings     streams that end before their job does: their age, SIGTERM
feed         who is here; starts and stops the rest
"""

from ingestion_progress.feed.feed import Feed
from ingestion_progress.feed.subscribers import Subscriber

__all__ = ["Feed", "Subscriber"]
