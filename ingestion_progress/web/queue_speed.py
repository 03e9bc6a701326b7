"""How fast jobs end, how long the queue takes at this rate, and how many processes run jobs."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils.translation import gettext, ngettext

from ingestion_progress.conf import conf
from ingestion_progress.models import Job
from ingestion_progress.models.jobs import SILENT_SHARE
from ingestion_progress.models.pagination import RowCount
from ingestion_progress.models.spans import milliseconds_between
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.web import formatting

WINDOW = timedelta(minutes=15)
# Only the newest ends count, so that a fast queue costs no more than a slow one.
MAX_ENDS = 200
MIN_ENDS = 3


def speed_note(waiting: RowCount, now: datetime) -> str:
    """The speed of all jobs: "Done: 3.4 per min · Queue: about 12 min left · 4 processes at work".

    Leaves out what is not known; empty if no job runs. Two queries at most.
    """
    processes = _count_processes(now)
    if not processes:
        return ""
    ends = _newest_ends(now)
    # The first one only begins the time.
    number, milliseconds = len(ends) - 1, milliseconds_between(ends[-1], now) if ends else 0
    parts = [
        ngettext(
            "%(number)s process at work", "%(number)s processes at work", processes
        ) % {"number": formatting.count(processes)}
    ]  # fmt: skip
    if len(ends) >= MIN_ENDS and milliseconds:
        rate = formatting.rate(number, milliseconds)
        left = formatting.remaining(round(waiting.number * milliseconds / number))
        if left and waiting.is_exact:
            parts.insert(0, gettext("Queue: %(left)s") % {"left": left})
        if rate:
            parts.insert(0, gettext("Done: %(rate)s") % {"rate": rate})
    return " · ".join(parts)


def _count_processes(now: datetime) -> int:
    """The number of processes that have sent a heartbeat for a running job."""
    since = now - timedelta(seconds=conf.lost_after_seconds * SILENT_SHARE)
    alive = Job.objects.running().filter(heartbeat_at__gte=since).exclude(writer="")
    return alive.order_by().values("writer").distinct().count()


def _newest_ends(now: datetime) -> list[datetime]:
    """When jobs succeeded or failed, the newest first."""
    ended = Job.objects.filter(finished_at__gte=now - WINDOW, finished_at__lte=now)
    newest = ended.order_by("-finished_at").values_list("status", "finished_at")[:MAX_ENDS]
    worked = {JobStatus.SUCCEEDED, JobStatus.FAILED}
    return [at for status, at in newest if status in worked and at is not None]
