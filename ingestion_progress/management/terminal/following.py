"""Follows jobs: subscribes to the feed as a stream does, and counts how the jobs end."""

import asyncio
import math
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from django.core.management.base import CommandError
from django.db import connections
from django.db.models import Case, Count, F, Value, When
from django.utils.translation import gettext, gettext_lazy

from ingestion_progress.conf import conf
from ingestion_progress.feed import EndReason, Selection, Subscription, get_feed
from ingestion_progress.feed.job_state import NEVER
from ingestion_progress.management.terminal.views import Change, JobView, JsonView, MultiJobView
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import JobResult, JobStatus, Liveness
from ingestion_progress.web import formatting
from ingestion_progress.wire.batches import BatchFrame, BatchProgressEventData
from ingestion_progress.wire.frames import Frame
from ingestion_progress.wire.schemas import ErrorEventData
from ingestion_progress.wire.snapshots import Snapshot, load_snapshot

ACTIVE, DELETED, UNREADABLE = "active", "deleted", "unreadable"
# Besides those of a result.
OTHER_JOBS = {
    ACTIVE: gettext_lazy("%(number)s active"),
    DELETED: gettext_lazy("%(number)s deleted"),
    UNREADABLE: gettext_lazy("%(number)s unreadable"),
}
TERMINATED = 128 + 15
INTERVAL_SECONDS = 0.25
CHECK_SECONDS = 1.0
RESULT = Case(
    When(status=JobStatus.SUCCEEDED, failed_items__gt=0, then=Value(JobResult.PARTIAL.value)),
    default=F("status"),
)
"""`Job.result` of ended jobs, in a query."""
SUCCESSES = frozenset({JobResult.SUCCEEDED.value, JobResult.PARTIAL.value})


class FollowedJobs:
    """The jobs of a selection. Only active and unsuccessful jobs are kept in memory."""

    def __init__(self, selection: Selection) -> None:
        self._batch = selection.batch
        self._succeeded: Counter[str] = Counter()
        self.active: dict[str, Snapshot] = {}
        self.unsuccessful: dict[str, str] = {}
        """How each job ended that did not succeed, by id."""
        self.batch_progress: BatchProgressEventData | None = None
        """The newest of the batch that is followed."""

    def take(self, frames: Iterable[Frame]) -> list[Change]:
        """The changes to show: ends first, in their order."""
        of_jobs = []
        for frame in frames:
            if isinstance(frame, BatchFrame):
                self.batch_progress = frame.data
            else:
                of_jobs.append(frame)
        changes = [
            change
            for change in map(_change, of_jobs)
            # The deletion of a job that has ended does not change how it ended.
            if change[2] != DELETED or change[0] in self.active
        ]
        for job_id, snapshot, status in changes:
            self.active.pop(job_id, None)
            self.unsuccessful.pop(job_id, None)  # it may be a new attempt
            if snapshot is not None and not snapshot.job.is_finished:
                self.active[job_id] = snapshot
            elif status in SUCCESSES:
                self._succeeded[status] += 1
            else:
                self.unsuccessful[job_id] = status
        return sorted(changes, key=_sort_key)

    @property
    def are_lost(self) -> bool:
        """Are there active jobs, and are all of them lost?"""
        return bool(self.active) and all(map(_is_lost, self.active.values()))

    def tally(self) -> Counter[str]:
        """Number of jobs by result; of a batch also those that had ended before."""
        ended = Counter(self.unsuccessful.values()) + self._succeeded
        if self._batch:
            finished = Job.objects.of_batch(self._batch).finished().order_by()
            ended = Counter({word: ended[word] for word in (DELETED, UNREADABLE)})
            ended.update(dict(finished.values_list(RESULT).annotate(Count("pk"))))
        lost = sum(map(_is_lost, self.active.values()))
        ended[Liveness.LOST.value] += lost
        ended[ACTIVE] = len(self.active) - lost
        return +ended


class FrameSink:
    """Collects the frames of a subscription, and yields those that arrive together as a list.

    It yields an empty list every second, because a job that stays lost sends no further frame.
    """

    def __init__(self, subscription: Subscription) -> None:
        self.is_busy = False
        """`write` must not be called after the end of the stream."""
        self._subscription = subscription
        self._frames: list[Frame] = []
        self._last: Frame | None = None
        self._arrived = asyncio.Event()
        self.write(subscription.open())
        subscription.attach(self)

    def write(self, _data: bytes) -> None:
        frame = self._subscription.output.last_frame
        if frame is not None and frame is not self._last:  # and not a comment
            self._last = frame
            self._frames.append(frame)
            self._arrived.set()

    def close(self) -> None:
        self.is_busy = True
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[list[Frame]]:
        while self._frames or not self.is_busy:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), CHECK_SECONDS)
            self._arrived.clear()
            frames, self._frames = self._frames, []
            yield frames


async def follow(
    selection: Selection,
    view: MultiJobView | JsonView,
    *,
    is_once: bool = False,
    waits_for_lost: bool = False,
) -> FollowedJobs:
    """Shows the jobs until none is active, or until all active jobs are lost and not rescued.

    Raises CommandError if the database is down at the start; a later failure does not end it.
    """
    feed, jobs = get_feed(), FollowedJobs(selection)
    subscription = feed.join(selection)
    subscription.ends_at = math.inf  # only streams over HTTP are rotated
    await feed.opened(subscription)
    try:
        if feed.is_failing:
            raise CommandError(gettext("The database does not answer."))
        with view.display:
            async for frames in FrameSink(subscription):
                view.show(jobs.take(frames))
                view.show_batch(jobs.batch_progress)
                if (is_once and frames) or (jobs.are_lost and not waits_for_lost):
                    return jobs
    finally:
        feed.unsubscribe(subscription)
    if subscription.end_reason is EndReason.SHUTDOWN:
        raise SystemExit(TERMINATED)
    return jobs


@contextmanager
def shown(job_id: str, view: JobView) -> Iterator[None]:
    """Shows a job in a thread while the block runs it, and then its end."""
    is_over = threading.Event()

    def show() -> None:
        if snapshot := load_snapshot(job_id):
            view.show([(job_id, snapshot, snapshot.job.status)])

    def work() -> None:
        try:
            with view.display:
                show()
                while not is_over.wait(INTERVAL_SECONDS):
                    show()
                show()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work, name="job-view", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def in_words(tally: Counter[str]) -> str:
    """The tally in one line."""
    texts = formatting.COUNTED_JOBS | OTHER_JOBS
    shown = {
        word: str(texts[word] % {"number": formatting.count(number)})
        for word, number in tally.items()
    }
    order = (ACTIVE, *(result.value for result in JobResult), DELETED, UNREADABLE)
    return ", ".join(shown[word] for word in order if word in shown)


def _change(frame: Frame) -> Change:
    if frame.snapshot is not None:
        job = frame.snapshot.job
        return job.pk, frame.snapshot, job.result or job.status
    error = ErrorEventData.model_validate_json(frame.body.rpartition(b"data: ")[2])
    return error.job_id, None, DELETED if error.code == "not_found" else UNREADABLE


def _sort_key(change: Change) -> tuple[datetime, datetime]:
    job = change[1].job if change[1] else None
    return (job.finished_at or NEVER, job.created_at) if job else (NEVER, NEVER)


def _is_lost(snapshot: Snapshot) -> bool:
    """Has the job had no heartbeat for a lease, or for three if its task allows a rescue?"""
    job, now = snapshot.job, database_now()
    leases = 2 * timedelta(seconds=conf.lost_after_seconds)
    is_silent = job.liveness(now) is Liveness.LOST
    return is_silent and (not job.task or job.liveness(now - leases) is Liveness.LOST)
