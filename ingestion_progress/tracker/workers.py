from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ingestion_progress.exceptions import InvalidCount
from ingestion_progress.models.statuses import WorkerStatus
from ingestion_progress.tracker.changes import WorkerChange
from ingestion_progress.tracker.contexts import BothContexts
from ingestion_progress.tracker.plan import clean_text

if TYPE_CHECKING:
    from types import TracebackType

    from ingestion_progress.tracker.buffer import Buffer

MAX_CHUNK_LENGTH = 255


class WorkerSlot(BothContexts):
    """One slot of the pool while it works on a chunk.

    Leaving frees the slot; an exception marks it as broken and goes on.
    """

    def __init__(self, buffer: Buffer, number: int, chunk: str) -> None:
        self._buffer = buffer
        self.number = number
        self.chunk = clean_text(chunk, MAX_CHUNK_LENGTH)

    def progress(self, percent: float) -> None:
        """How far the current chunk is, 0 to 100. Raises InvalidCount outside of that."""
        self.change(WorkerStatus.PROCESSING, percent)

    def change(self, status: WorkerStatus, percent: float = 0.0) -> None:
        """Sets the slot as a whole; an idle one holds no chunk."""
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.change(WorkerStatus.IDLE if error is None else WorkerStatus.ERROR)
