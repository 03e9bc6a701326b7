"""The one source of frames in a process: rows are read once, however many people watch.

subscribers  a mailbox per open stream
outlets      what empties a mailbox without waking the stream's task
selections   which jobs a stream of many is about, and where its client resumes
states       what was read of a job, encoded once for all who get it
watches      one watched job: its newest state, who gets it, and when
overview     who watches all active jobs, and what they were told of those that ended
reading      what changed in the database, encoded
reader       the thread in which that happens
poller       when to read and when to publish
partings     streams that end before their job does: their age, SIGTERM
feed         who is here; starts and stops the rest
"""

from ingestion_progress.feed.feed import Feed
from ingestion_progress.feed.outlets import Outlet
from ingestion_progress.feed.selections import Selection
from ingestion_progress.feed.subscribers import Subscriber

__all__ = ["Feed", "Outlet", "Selection", "Subscriber"]
