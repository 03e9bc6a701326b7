from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TypeVar

from django.utils import timezone

from ingestion_progress.exceptions import InvalidCount
from ingestion_progress.models.statuses import EventLevel, StageStatus
from ingestion_progress.tracker.changes import checked_count
from ingestion_progress.tracker.contexts import BothContexts
from ingestion_progress.tracker.plan import clean_text

if TYPE_CHECKING:
    from types import TracebackType

    from ingestion_progress.tracker.buffer import Buffer
    from ingestion_progress.tracker.jobs import JobTracker

Item = TypeVar("Item")

MAX_UNIT_LENGTH = 32


class StageTracker(BothContexts):
    """One stage as an ingestion task sees it. Thread-safe, and never waits for the database.

    As a context manager (sync or async) it starts the stage, completes it on a normal leave
    and fails it on an exception, which goes on. Used without one, the first count starts it;
    a total alone does not.
    """

    def __init__(self, job: JobTracker, name: str) -> None:
        self.job = job
        self.name = name
        self._buffer: Buffer = job.buffer
        self._is_started = False
        # As they were set here, the total with what it has grown here since; 0: not known.
        self._known = {"processed": 0, "total": 0}
        self._has_grown = False

    # Counts

    def advance(self, n: int = 1) -> None:
        """`n` more items are done."""
        if n.__class__ is not int or n < 0:
            checked_count("n", n)
        if not self._is_started:
            self.start()
        buffer = self._buffer
        with buffer.lock:
            buffer.changes.stages[self.name].counters["processed"].delta += n
        if not buffer.is_noticed:
            buffer.notice()

    def set(
        self,
        *,
        processed: int | None = None,
        total: int | None = None,
        in_flight: int | None = None,
    ) -> None:
        """Replaces counts, for whoever counts alone.

        Raises InvalidCount where `processed` is then above the total, as far as both are known
        from this tracker.
        """
        given = {"processed": processed, "total": total, "in_flight": in_flight}
        counts = {name: checked_count(name, n) for name, n in given.items() if n is not None}
        self._check(self._known | counts)
        if counts.get("processed") or counts.get("in_flight"):
            self.start()
        with self._buffer.change() as changes:
            self._known |= counts
            for name, value in counts.items():
                changes.stages[self.name].counters[name].set(value)

    def grow(self, n: int) -> None:
        """`n` more items are to be done: a total that is discovered late, by several if need be."""
        checked_count("n", n)
        with self._buffer.change() as changes:
            changes.stages[self.name].counters["total"].delta += n
            self._has_grown = True
            if self._known["total"]:
                self._known["total"] += n

    @contextmanager
    def in_flight(self, n: int = 1) -> Iterator[None]:
        """Counts `n` items as being worked on while the block runs."""
        checked_count("in_flight", n)
        self.start()
        self._add_in_flight(n)
        try:
            yield
        finally:
            self._add_in_flight(-n)

    def iterate(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each counted when the next is asked for. Raises JobCancelled.

        A collection that knows its length sets the total, unless it was given or has grown here;
        what was set as processed before counts towards it.
        """
        self._expect(items)
        for item in items:
            self.job.raise_if_cancelled()
            yield item
            self.advance()

    async def aiterate(self, items: AsyncIterable[Item] | Iterable[Item]) -> AsyncIterator[Item]:
        """`iterate` for async code; takes both kinds of iterables."""
        if isinstance(items, AsyncIterable):
            self.start()
            async for item in items:
                self.job.raise_if_cancelled()
                yield item
                self.advance()
        else:
            for item in self.iterate(items):
                yield item

    def record_error(self, message: str, *, item: str = "") -> None:
        """One item failed and the stage goes on: counted, and kept in the job's log."""
        with self._buffer.change() as changes:
            changes.stages[self.name].counters["failed"].delta += 1
        self.job.log(message, level=EventLevel.ERROR, stage=self.name, item=item)

    # The stage's life

    def start(self) -> None:
        """Pending to in progress. Starting twice is harmless."""
        if self._is_started:
            return
        self._is_started = True
        self._move_to(StageStatus.IN_PROGRESS)

    def complete(self) -> None:
        self._move_to(StageStatus.COMPLETED)

    def fail(self, reason: str) -> None:
        self._move_to(StageStatus.ERROR)
        self.job.log(reason, level=EventLevel.ERROR, stage=self.name)

    def skip(self, reason: str = "") -> None:
        """The stage leaves the plan: it counts neither as done nor as to be done."""
        self._move_to(StageStatus.SKIPPED)
        self.job.log(f"Skipped: {reason}" if reason else "Skipped", stage=self.name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.complete()
        else:
            # The reason is the job's to record, once.
            self._move_to(StageStatus.ERROR)

    def describe(self, *, total: int | None, unit: str) -> None:
        """What is counted and how much there is, as far as it is known."""
        if total is not None:
            self.set(total=total)
        if unit:
            with self._buffer.change() as changes:
                changes.stages[self.name].unit = clean_text(unit, MAX_UNIT_LENGTH)

    def _expect(self, items: Iterable[Item]) -> None:
        self.start()
        is_known = self._known["total"] or self._has_grown
        if not is_known and isinstance(items, Sized):
            self.set(total=self._known["processed"] + len(items))

    def _check(self, known: Mapping[str, int]) -> None:
        if 0 < known["total"] < known["processed"]:
            raise InvalidCount(
                f"Stage {self.name!r}: processed is {known['processed']}, above its total of "
                f"{known['total']}. Set both, or grow the total first."
            )

    def _add_in_flight(self, n: int) -> None:
        with self._buffer.change() as changes:
            changes.stages[self.name].counters["in_flight"].delta += n

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
            self._is_started = False  # a further count means another try
