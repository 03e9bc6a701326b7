from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self, TypeVar

from django.utils import timezone

from ingestion_progress.exceptions import (
    JobCancelled,
    JobSuperseded,
    UnknownStage,
)
from ingestion_progress.models.statuses import EventLevel, JobStatus
from ingestion_progress.tracker.buffer import Attempt, Buffer
from ingestion_progress.tracker.changes import EventEntry, checked_count
from ingestion_progress.tracker.plan import MAX_POOL_SIZE
from ingestion_progress.tracker.sql import Recorded, finish_attempt, write_changes
from ingestion_progress.tracker.stages import StageTracker
from ingestion_progress.tracker.workers import WorkerSlot
from ingestion_progress.tracker.writer import current_writer
from ingestion_progress.tracker.writers import in_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingestion_progress.tracker.changes import JobChanges
    from ingestion_progress.tracker.writers import Writer

logger = logging.getLogger("ingestion_progress.tracker")

Result = TypeVar("Result")

METRICS = frozenset({"entities_total", "relations_total", "neo4j_writes", "qdrant_writes"})
MAX_OWN_COUNTERS = 50
MAX_COUNTER_NAME_LENGTH = 64


class JobTracker:
    """A running job as an ingestion task sees it.

    Thread-safe. Recording touches memory only; a thread of this process writes it, at most
    every flush interval, and at once on start, finish and failure.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self._writer: Writer = current_writer()
        self._buffer: Buffer | None = None
        self._stages: dict[str, StageTracker] = {}
        self._own_counters: set[str] = set()
        self.has_ended = False
        """This tracker has ended the job."""

    @property
    def buffer(self) -> Buffer:
        """Where changes are collected; opens the job if need be."""
        if self._buffer is None:
            self.start()
        if self._buffer is None:
            raise RuntimeError("start() did not open the job")
        return self._buffer

    @property
    def document_id(self) -> str:
        return self.buffer.attempt.document_id

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The declared stages, in their order."""
        return self.buffer.attempt.stage_names

    # Recording

    def stage(self, name: str, *, total: int | None = None, unit: str = "") -> StageTracker:
        """The stage of that name. Raises UnknownStage, which lists the declared ones."""
        if name not in self.stage_names:
            raise UnknownStage(name, self.stage_names)
        stage = self._stages.setdefault(name, StageTracker(self, name))
        stage.describe(total=total, unit=unit)
        return stage

    def skip(self, name: str, reason: str = "") -> None:
        """The stage leaves the plan."""
        self.stage(name).skip(reason)

    def worker(self, number: int, *, chunk: str = "") -> WorkerSlot:
        """A slot of the pool, for a `with` block. Raises InvalidCount for an absurd number."""
        if checked_count("number", number) > MAX_POOL_SIZE:
            raise ValueError(f"A pool has at most {MAX_POOL_SIZE} workers; there is no {number}.")
        return WorkerSlot(self.buffer, number, chunk)

    def count(self, **counts: int) -> None:
        """Adds to the metrics; other names are the pipeline's own counters."""
        self._record_counts(counts, is_absolute=False)

    def set_metrics(self, **counts: int) -> None:
        """Replaces metrics, for whoever counts alone."""
        self._record_counts(counts, is_absolute=True)

    def set_totals(self, *, chunks: int | None = None, images: int | None = None) -> None:
        self._set_columns(total_chunks=chunks, total_images=images)

    def set_queue_depth(self, n: int) -> None:
        """How many items wait for a worker now."""
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
        """A line in the job's log; one of level `error` counts as an error."""
        entry = EventEntry(
            at=timezone.now(), level=EventLevel(level), message=message, stage=stage, item=item
        )
        with self.buffer.change() as changes:
            changes.add_event(entry)
            if entry.level is EventLevel.ERROR:
                changes.counters["error_count"].delta += 1

    # Being told to stop

    @property
    def cancel_requested(self) -> bool:
        """Has somebody asked this job to stop? Known within a flush or a heartbeat."""
        return self.buffer.is_cancel_requested

    def raise_if_cancelled(self) -> None:
        """Raises JobCancelled when asked to stop, JobSuperseded when the job went on elsewhere."""
        buffer = self.buffer
        if buffer.is_cancel_requested:
            raise JobCancelled(self.job_id)
        if buffer.is_over:
            raise JobSuperseded(self.job_id)

    # Writing

    def start(self) -> None:
        """Opens the job. Raises ProgressUnavailable where the database does not answer."""
        if self._buffer is None:
            self._opened(self._call(self._open, "start"))

    async def astart(self) -> None:
        if self._buffer is None:
            self._opened(await self._acall(self._open, "start"))

    def flush(self) -> Recorded:
        """Writes what is pending now, and waits for it."""
        return self._call(self._flushing(), "progress")

    async def aflush(self) -> Recorded:
        return await self._acall(self._flushing(), "progress")

    def flush_pending(self) -> None:
        """Writes what is pending, if anything is; quietly where the attempt is over."""
        if not self.buffer.changes:
            return
        try:
            self.flush()
        except JobSuperseded:
            self.buffer.is_over = True

    def complete(self) -> None:
        """The job succeeded: what runs is complete, what never ran leaves the plan."""
        self._finish(JobStatus.SUCCEEDED)

    async def acomplete(self) -> None:
        await self._afinish(JobStatus.SUCCEEDED)

    def fail(self, reason: str) -> None:
        self._finish(JobStatus.FAILED, reason)

    async def afail(self, reason: str) -> None:
        await self._afinish(JobStatus.FAILED, reason)

    def leave(self) -> None:
        """This process has nothing more to say; the job itself goes on."""
        self._writer.close(self.buffer)

    def _open(self) -> Attempt:
        raise NotImplementedError

    def _call(self, write: Callable[[], Result], action: str) -> Result:
        with in_time(self.job_id, action):
            return self._writer.call(write)

    async def _acall(self, write: Callable[[], Result], action: str) -> Result:
        with in_time(self.job_id, action):
            return await self._writer.acall(write)

    def _opened(self, attempt: Attempt) -> None:
        self._buffer = Buffer(attempt, self._writer)
        self._writer.open(self._buffer)

    def _flushing(self) -> Callable[[], Recorded]:
        return _write_of(self.buffer, lambda changes: write_changes(self.buffer.attempt, changes))

    def _finishing(self, status: JobStatus, reason: str) -> Callable[[], Recorded]:
        return _write_of(
            self.buffer,
            lambda changes: finish_attempt(self.buffer.attempt, changes, status, reason),
        )

    def _finish(self, status: JobStatus, reason: str = "") -> None:
        self._call(self._finishing(status, reason), "end")
        self._over()

    async def _afinish(self, status: JobStatus, reason: str = "") -> None:
        await self._acall(self._finishing(status, reason), "end")
        self._over()

    def _over(self) -> None:
        self.has_ended = self.buffer.is_over = True
        self.leave()

    def _record_counts(self, counts: dict[str, int], *, is_absolute: bool) -> None:
        own = {name for name in counts if name not in METRICS}
        if len(self._own_counters | own) > MAX_OWN_COUNTERS:
            raise ValueError(f"A job has at most {MAX_OWN_COUNTERS} counters of its own.")
        for name in own:
            if not 1 <= len(name) <= MAX_COUNTER_NAME_LENGTH or not name.isprintable():
                raise ValueError(
                    f"{name!r} cannot name a counter: use 1 to {MAX_COUNTER_NAME_LENGTH} "
                    "printable characters."
                )
        checked = {name: checked_count(name, value) for name, value in counts.items()}
        self._own_counters |= own
        with self.buffer.change() as changes:
            for name, value in checked.items():
                counters = changes.own_counters if name in own else changes.counters
                if is_absolute:
                    counters[name].set(value)
                else:
                    counters[name].delta += value

    def _set_columns(self, **values: int | None) -> None:
        checked = {
            name: checked_count(name, value) for name, value in values.items() if value is not None
        }
        with self.buffer.change() as changes:
            for name, value in checked.items():
                changes.counters[name].set(value)

    async def __aenter__(self) -> Self:
        await self.astart()
        return self

    def __enter__(self) -> Self:
        self.start()
        return self


def _write_of(buffer: Buffer, write: Callable[[JobChanges], Recorded]) -> Callable[[], Recorded]:
    """A write of all that is pending when it is performed; put back where it fails."""

    def perform() -> Recorded:
        changes = buffer.take()
        try:
            recorded = write(changes)
        except Exception:
            buffer.put_back(changes)
            raise
        buffer.learn(recorded)
        return recorded

    return perform
