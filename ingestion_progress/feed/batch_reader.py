"""Sends the progress of batches to the streams that show one."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.concurrency.worker_thread import WorkerThread
from ingestion_progress.feed.subscription import Subscription
from ingestion_progress.feed.watched_jobs import WatchedJobs
from ingestion_progress.models import Job
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.wire.batches import BatchFrame, batch_frames

logger = logging.getLogger(__name__)

# New streams wait this long for the progress of their batch.
CHECK_SECONDS = 0.5
# A batch that changes all the time is read this often, unless reading takes long.
READ_EVERY_SECONDS = 2.0
# Seconds of pause per second of reading: the thread reads for a tenth of the time at most, because
# the cost of a batch grows with its jobs.
PAUSE_PER_SECOND = 9.0
TIMEOUT_SECONDS = 10.0


class BatchKey(NamedTuple):
    """What streams show: a batch, and a rule of the project as `VisibleJobs.key`."""

    batch: str
    rule: str = ""


class BatchReader:
    """Reads each batch once for all its streams, in a separate thread.

    The queries depend on the number of different rules among the streams, not on that of streams.
    """

    def __init__(self, jobs: WatchedJobs, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._clock = clock
        self._thread: WorkerThread | None = None
        self._frames: dict[BatchKey, BatchFrame] = {}
        self._sent: dict[Subscription, BatchFrame] = {}
        self._next_at = clock()
        self._backoff = Backoff(
            logger,
            down="batch_progress_failed",
            back="batch_progress_recovered",
            first_seconds=1.0,
            last_seconds=5.0,
            level=logging.ERROR,
        )

    async def run(self) -> None:
        """Reads until it is cancelled. A failed read is logged once and repeated."""
        while True:
            await asyncio.sleep(max(CHECK_SECONDS, self._backoff.pause_seconds))
            try:
                await self.send()
            except Exception as error:  # noqa: BLE001  (a rule is code of the project)
                self._backoff.failed(error)
            else:
                self._backoff.succeeded()

    def close(self) -> None:
        if self._thread is not None:
            self._thread.close()

    async def send(self) -> None:
        """Reads the batches that are new, and from time to time those whose jobs have changed."""
        streams = self._streams()
        self._frames = {shown: each for shown, each in self._frames.items() if shown in streams}
        due = streams.keys() - self._frames.keys()
        if self._clock() >= self._next_at:
            changed, self._jobs.changed_batches = self._jobs.changed_batches, set()
            due |= {shown for shown in streams if shown.batch in changed}
        if due:
            since = self._clock()
            try:
                await self._read({shown: streams[shown] for shown in due})
            except Exception:
                self._jobs.changed_batches.update(shown.batch for shown in due)
                raise
            took_seconds = self._clock() - since
            pause_seconds = max(READ_EVERY_SECONDS, took_seconds * PAUSE_PER_SECOND)
            self._next_at = self._clock() + pause_seconds
        self._put(streams)

    async def _read(self, due: dict[BatchKey, list[Subscription]]) -> None:
        by_rule: defaultdict[str, set[str]] = defaultdict(set)
        for shown in due:
            by_rule[shown.rule].add(shown.batch)
        rules = {shown.rule: _jobs_of(streams[0]) for shown, streams in due.items()}
        if self._thread is None:
            self._thread = WorkerThread(
                "ingestion-progress-batches", timeout_seconds=TIMEOUT_SECONDS
            )
        for rule, batches in by_rule.items():
            found = await self._thread.run(batch_frames, rules[rule], batches)
            self._keep(rule, found.items())

    def _keep(self, rule: str, found: Iterable[tuple[str, BatchFrame]]) -> None:
        for batch, frame in found:
            shown = BatchKey(batch, rule)
            former = self._frames.get(shown)
            if former is None or former.body != frame.body:
                self._frames[shown] = frame

    def _put(self, streams: dict[BatchKey, list[Subscription]]) -> None:
        sent: dict[Subscription, BatchFrame] = {}
        for shown, subscriptions in streams.items():
            if (frame := self._frames.get(shown)) is None:
                continue
            for subscription in subscriptions:
                sent[subscription] = frame
                if self._sent.get(subscription) is not frame:
                    # No job has such an id.
                    subscription.put(f"/{shown.batch}", frame)
        self._sent = sent

    def _streams(self) -> dict[BatchKey, list[Subscription]]:
        """The streams that have their first states, by what they show."""
        active = self._jobs.active
        found: defaultdict[BatchKey, list[Subscription]] = defaultdict(list)
        for each in chain(active.subscribers, active.by_rule.subscribers()):
            if batch := each.selection.batch:
                visible = each.selection.visible
                found[BatchKey(batch, visible.key if visible else "")].append(each)
        return found


def _jobs_of(subscription: Subscription) -> JobQuerySet:
    visible = subscription.selection.visible
    return Job.objects.all() if visible is None else visible.jobs
