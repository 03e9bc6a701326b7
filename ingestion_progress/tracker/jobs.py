"""The object that an ingestion task uses for its job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TypeAlias, TypeVar

from ingestion_progress.exceptions import (
    IngestionProgressError,
    ProgressUnavailable,
    UnknownStage,
)
from ingestion_progress.models.statuses import AttemptStatus, EventLevel, JobStatus
from ingestion_progress.tracker.buffer import Buffer, Writer
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.database import timeout_as_unavailable
from ingestion_progress.tracker.endings import finish_attempt, hand_back_attempt
from ingestion_progress.tracker.plan import (
    MAX_POOL_SIZE,
    Attempt,
    checked_count,
    checked_counter_names,
    checked_counts,
)
from ingestion_progress.tracker.sql import WriteResult, write_changes
from ingestion_progress.tracker.stages import StageTracker
from ingestion_progress.tracker.waits import Waits
from ingestion_progress.tracker.workers import WorkerSlot
from ingestion_progress.tracker.writer import current_writer

logger = logging.getLogger("ingestion_progress.tracker")

Result = TypeVar("Result")
Ending: TypeAlias = Callable[[Attempt, JobChanges], WriteResult]

METRICS = frozenset({"entities_total", "relations_total", "neo4j_writes", "qdrant_writes"})


class JobTracker:
    """A running job as an ingestion task sees it.

    Thread-safe. Recording only changes values in memory. A thread of this process writes them, at
    most every flush interval, and at once on start, finish and failure.
    """

    has_ended = False
    """This tracker has ended the job, or does so when the database permits it."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self._writer: Writer = current_writer()
        self._buffer: Buffer | None = None
        self._stages: dict[str, StageTracker] = {}
        self._own_counters: set[str] = set()
        self._waits = Waits()

    @property
    def buffer(self) -> Buffer:
        """The pending changes; the first use opens the job."""
        return self._buffer or self._opened(self._call(self._open, "start"))

    @property
    def document_id(self) -> str:
        return self.buffer.attempt.document_id

    @property
    def epoch(self) -> str:
        """Names the attempt: what it writes elsewhere can carry it."""
        return self.buffer.attempt.epoch

    @property
    def is_started(self) -> bool:
        return self._buffer is not None

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The declared stages, in order."""
        return self.buffer.attempt.stage_names

    # Recording

    def stage(self, name: str, *, total: int | None = None, unit: str = "") -> StageTracker:
        """The stage of that name. Raises UnknownStage, which lists the declared ones."""
        if name not in self.stage_names:
            raise UnknownStage(name, self.stage_names)
        stage = self._stages.setdefault(name, StageTracker(self.buffer, name))
        stage.describe(total=total, unit=unit)
        return stage

    def skip(self, name: str, reason: str = "") -> None:
        """Takes the stage out of the plan."""
        self.stage(name).skip(reason)

    def worker(self, number: int, *, chunk: str = "") -> WorkerSlot:
        """A slot of the pool, for a `with` block. Raises InvalidCount or ValueError."""
        if checked_count("number", number) > MAX_POOL_SIZE:
            raise ValueError(f"A pool has at most {MAX_POOL_SIZE} workers; there is no {number}.")
        return WorkerSlot(self.buffer, number, chunk)

    def count(self, **counts: int) -> None:
        """Adds to the metrics; other names are the pipeline's own counters."""
        self._record_counts(counts, is_absolute=False)

    def set_metrics(self, **counts: int) -> None:
        """Replaces metrics and own counters, if nobody else counts them."""
        self._record_counts(counts, is_absolute=True)

    def set_totals(self, *, chunks: int | None = None, images: int | None = None) -> None:
        self._set_columns(total_chunks=chunks, total_images=images)

    def set_queue_depth(self, n: int) -> None:
        """Sets how many items wait for a worker."""
        self._set_columns(queue_depth=n)

    def set_pool_size(self, n: int) -> None:
        self._set_columns(pool_size=n)

    def log(
        self,
        message: str,
        *,
        level: EventLevel | str = EventLevel.INFO,
        stage: str = "",
        item: str = "",
    ) -> None:
        """Adds a line to the job's log; one of level `error` counts as an error."""
        self.buffer.log(message, level=level, stage=stage, item=item)

    def waiting(self, service: str, *, stage: str = "") -> AbstractContextManager[None]:
        """Shows that the job waits for a service during the block, such as `the model at
        api.example.org`: it is not stalled then, and its end is unknown.
        """
        return self._waits.waiting(self.buffer, service, stage)

    @property
    def cancel_requested(self) -> bool:
        """Is the job to stop? Known within a flush or a heartbeat."""
        return self.buffer.is_cancel_requested

    def raise_if_cancelled(self) -> None:
        """Raises JobCancelled if the job is to stop, JobSuperseded if the attempt is over."""
        self.buffer.raise_if_cancelled()

    # Writing

    def start(self) -> None:
        """Opens the job. Raises ProgressUnavailable if the database does not answer."""
        if self._buffer is None:
            self._opened(self._call(self._open, "start"))

    async def astart(self) -> None:
        if self._buffer is None:
            self._opened(await self._acall(self._open, "start"))

    def flush(self) -> WriteResult:
        """Writes what is pending, and waits for it."""
        return self._call(partial(self.buffer.write, write_changes), "progress")

    async def aflush(self) -> WriteResult:
        return await self._acall(partial(self.buffer.write, write_changes), "progress")

    def complete(self) -> None:
        """Ends the job as succeeded: completes running stages, skips those that never started."""
        self._end(partial(finish_attempt, status=JobStatus.SUCCEEDED))

    async def acomplete(self) -> None:
        await self._aend(partial(finish_attempt, status=JobStatus.SUCCEEDED))

    def fail(self, reason: str) -> None:
        self.buffer.add_failure(reason)
        self._end(partial(finish_attempt, status=JobStatus.FAILED, error=reason))

    async def afail(self, reason: str) -> None:
        self.buffer.add_failure(reason)
        await self._aend(partial(finish_attempt, status=JobStatus.FAILED, error=reason))

    def hand_back(self, reason: str) -> None:
        """Ends this attempt; the job is queued again, to continue with another worker.

        Raises InvalidTransition if the job has ended.
        """
        self._end(partial(hand_back_attempt, ending=AttemptStatus.INTERRUPTED, reason=reason))

    async def ahand_back(self, reason: str) -> None:
        await self._aend(
            partial(hand_back_attempt, ending=AttemptStatus.INTERRUPTED, reason=reason)
        )

    def leave(self) -> None:
        """Ends the heartbeats of this process; the job itself continues."""
        self._writer.close(self.buffer)

    def _open(self) -> Attempt:
        raise NotImplementedError

    def _opened(self, attempt: Attempt) -> Buffer:
        self._buffer = Buffer(attempt, self._writer)
        self._writer.open(self._buffer)
        return self._buffer

    def _call(self, write: Callable[[], Result], action: str) -> Result:
        with timeout_as_unavailable(self.job_id, action):
            return self._writer.call(write)

    async def _acall(self, write: Callable[[], Result], action: str) -> Result:
        with timeout_as_unavailable(self.job_id, action):
            return await self._writer.acall(write)

    def _end(self, ending: Ending) -> None:
        with _sooner_or_later(self, ending) as write:
            self._call(write, "end")

    async def _aend(self, ending: Ending) -> None:
        with _sooner_or_later(self, ending) as write:
            await self._acall(write, "end")

    def _record_counts(self, counts: dict[str, int], *, is_absolute: bool) -> None:
        own = counts.keys() - METRICS
        own_counters = checked_counter_names(self._own_counters | own)
        checked = {name: checked_count(name, value) for name, value in counts.items()}
        self._own_counters = own_counters
        with self.buffer.change() as changes:
            for name, value in checked.items():
                counter = (changes.own_counters if name in own else changes.counters)[name]
                if is_absolute:
                    counter.set(value)
                else:
                    counter.delta += value

    def _set_columns(self, **values: int | None) -> None:
        checked = checked_counts(**values)
        with self.buffer.change() as changes:
            for name, value in checked.items():
                changes.counters[name].set(value)


@contextmanager
def _sooner_or_later(job: JobTracker, ending: Ending) -> Iterator[Callable[[], None]]:
    """If the database does not answer in time, the end is written when it does."""
    write = partial(_write_end, job, job.buffer, ending)
    try:
        yield write
    except ProgressUnavailable:
        if not job.has_ended:
            job.has_ended = True
            job.buffer.writer.postpone(job.job_id, partial(_write_late_end, job, write))
        raise


def _write_end(job: JobTracker, buffer: Buffer, ending: Ending) -> None:
    buffer.write(ending)
    job.has_ended = buffer.is_over = True
    job.leave()


def _write_late_end(job: JobTracker, write: Callable[[], None]) -> None:
    try:
        if not job.buffer.is_over:  # by another try of the caller
            write()
    except IngestionProgressError as error:  # the job has ended otherwise, or was deleted
        job.leave()
        log_unrecorded_end(job.job_id, error)


def log_unrecorded_end(job_id: str, error: Exception) -> None:
    """With a traceback unless the error is expected, as after another attempt has begun."""
    extra = {"job_id": job_id, "reason": str(error)}
    if isinstance(error, ProgressUnavailable):
        logger.warning("tracker_end_postponed", extra=extra)
    elif isinstance(error, IngestionProgressError):
        logger.warning("tracker_end_not_recorded", extra=extra)
    else:
        logger.error("tracker_end_not_recorded", extra=extra, exc_info=error)
