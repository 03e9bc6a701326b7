"""The objects that a task uses for a stage and for a slot of its worker pool."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from threading import get_ident
from typing import Any, Self, TypeVar

from django.utils import timezone

from ingestion_progress.exceptions import InvalidCount
from ingestion_progress.models.statuses import EventLevel, StageStatus, WorkerStatus
from ingestion_progress.tracker.buffer import Buffer
from ingestion_progress.tracker.changes import WorkerChange
from ingestion_progress.tracker.error_messages import kind_of
from ingestion_progress.tracker.plan import checked_count, checked_counts, clean_text
from ingestion_progress.tracker.reasons import reason_of

Item = TypeVar("Item")

MAX_UNIT_LENGTH = 32
MAX_CHUNK_LENGTH = 255


class ContextMixin(AbstractContextManager[Any]):
    """A context manager that never waits, so `async with` can use it too."""

    async def __aenter__(self) -> Self:
        self.__enter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.__exit__(*error)  # type: ignore[arg-type]


class StageTracker(ContextMixin):
    """One stage of a running job. Thread-safe, and never waits for the database.

    A block starts the stage, completes it on a normal exit, and fails it on an exception, which
    is re-raised. Without a block, the first count starts the stage; a total alone does not.
    """

    def __init__(self, buffer: Buffer, name: str) -> None:
        self.name = name
        self._buffer = buffer
        self._advances = buffer.advances[name]
        self._is_started = False
        # What this tracker has set, with what it has added to the total; 0: unknown.
        self._known = {"processed": 0, "total": 0}
        self._has_grown = False

    # Counts

    def advance(self, n: int = 1) -> None:
        """Adds `n` to the processed items."""
        if n.__class__ is not int or n < 0:
            checked_count("n", n)
        if not self._is_started:
            self.start()
        self._advances[get_ident()] += n
        if not self._buffer.is_noticed:
            self._buffer.notice()

    def set(
        self,
        *,
        processed: int | None = None,
        total: int | None = None,
        in_flight: int | None = None,
    ) -> None:
        """Replaces counts, if nobody else counts this stage.

        Raises InvalidCount if `processed` would be above the total, as far as this tracker knows
        them.
        """
        counts = checked_counts(processed=processed, total=total, in_flight=in_flight)
        known = self._known | counts
        if 0 < known["total"] < known["processed"]:
            raise InvalidCount(
                f"Stage {self.name!r}: processed is {known['processed']}, above its total of "
                f"{known['total']}. Set both, or grow the total first."
            )
        if counts.get("processed") or counts.get("in_flight"):
            self.start()
        with self._buffer.change() as changes:
            if "processed" in counts:
                self._advances.take()
            self._known |= counts
            for name, value in counts.items():
                changes.stages[self.name].counters[name].set(value)

    def grow(self, n: int) -> None:
        """Adds `n` to the total, which several processes may discover step by step."""
        checked_count("n", n)
        with self._buffer.change() as changes:
            changes.stages[self.name].counters["total"].delta += n
            self._has_grown = True
            if self._known["total"]:
                self._known["total"] += n

    @contextmanager
    def in_flight(self, n: int = 1) -> Iterator[None]:
        """Counts `n` items as in flight during the block."""
        checked_count("in_flight", n)
        self.start()
        self._add("in_flight", n)
        try:
            yield
        finally:
            self._add("in_flight", -n)

    def iterate(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items; counts each when the next one is requested. Raises JobCancelled.

        If the total is neither set nor grown here, the length of a sized collection is added to
        what was set as processed and becomes the total.
        """
        self.start()
        if isinstance(items, Sized) and not (self._known["total"] or self._has_grown):
            self.set(total=self._known["processed"] + len(items))
        for item in items:
            self._buffer.raise_if_cancelled()
            yield item
            self.advance()

    async def aiterate(self, items: AsyncIterable[Item] | Iterable[Item]) -> AsyncIterator[Item]:
        """`iterate` for async code; takes both kinds of iterables."""
        if isinstance(items, AsyncIterable):
            self.start()
            async for item in items:
                self._buffer.raise_if_cancelled()
                yield item
                self.advance()
        else:
            for item in self.iterate(items):
                yield item

    def record_error(self, error: str | BaseException, *, item: str = "", kind: str = "") -> None:
        """Counts an item as failed and logs why; the stage continues.

        Errors of one `kind` whose texts differ in numbers and names only become one group. The kind
        of an exception is its class, unless it is given.
        """
        if isinstance(error, BaseException):
            kind = kind or kind_of(error)
            error = reason_of(error)
        self._add("failed", 1)
        self._buffer.log(error, level=EventLevel.ERROR, stage=self.name, item=item, kind=kind)

    # Status

    def start(self) -> None:
        """Pending to in progress. May be called again."""
        if not self._is_started:
            self._is_started = True
            self._move_to(StageStatus.IN_PROGRESS)

    def complete(self) -> None:
        self._move_to(StageStatus.COMPLETED)

    def fail(self, reason: str) -> None:
        self._move_to(StageStatus.ERROR)
        self._buffer.log(reason, level=EventLevel.ERROR, stage=self.name)

    def skip(self, reason: str = "") -> None:
        """Takes the stage out of the plan: it no longer counts towards the percentage."""
        self._move_to(StageStatus.SKIPPED)
        message = f"Skipped: {reason}" if reason else "Skipped"
        self._buffer.log(message, level=EventLevel.INFO, stage=self.name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        # The block of the job logs the error, once.
        self._move_to(StageStatus.COMPLETED if error is None else StageStatus.ERROR)

    def describe(self, *, total: int | None, unit: str) -> None:
        """Sets the total and the unit of what is counted, as far as they are given."""
        if total is not None:
            self.set(total=total)
        if unit:
            with self._buffer.change() as changes:
                changes.stages[self.name].unit = clean_text(unit, MAX_UNIT_LENGTH)

    def _add(self, counter: str, n: int) -> None:
        with self._buffer.change() as changes:
            changes.stages[self.name].counters[counter].delta += n

    def _move_to(self, status: StageStatus) -> None:
        now = timezone.now()
        with self._buffer.change(is_urgent=True) as changes:
            stage = changes.stages[self.name]
            if not stage.is_final:
                stage.status = status
                stage.started_at = stage.started_at or now
                if status.is_ending:
                    stage.finished_at = now
        if status is StageStatus.ERROR:
            self._is_started = False  # the next count starts the stage again


class WorkerSlot(ContextMixin):
    """One slot of the pool while it works on a chunk.

    The end of a block sets the slot to idle; an exception sets it to error and is re-raised.
    """

    def __init__(self, buffer: Buffer, number: int, chunk: str) -> None:
        self._buffer = buffer
        self.number = number
        self.chunk = clean_text(chunk, MAX_CHUNK_LENGTH)

    def progress(self, percent: float) -> None:
        """Sets the progress of the current chunk, 0 to 100. Raises InvalidCount."""
        self.change(WorkerStatus.PROCESSING, percent)

    def change(self, status: WorkerStatus, percent: float = 0.0) -> None:
        """Replaces the state of the slot; an idle one has no chunk."""
        if not 0 <= percent <= 100:
            raise InvalidCount(f"progress is {percent!r}; it must be from 0 to 100.")
        chunk = "" if status is WorkerStatus.IDLE else self.chunk
        with self._buffer.change() as changes:
            changes.workers[self.number] = WorkerChange(
                status=status, current_chunk=chunk, progress_percent=percent
            )

    def __enter__(self) -> Self:
        self.progress(0)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.change(WorkerStatus.IDLE if error is None else WorkerStatus.ERROR)
