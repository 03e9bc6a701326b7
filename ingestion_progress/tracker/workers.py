"""The object that a task uses for a slot of its worker pool."""

from __future__ import annotations

from typing import Self

from ingestion_progress.exceptions import InvalidCount
from ingestion_progress.models.statuses import WorkerStatus
from ingestion_progress.tracker.buffer import Buffer
from ingestion_progress.tracker.changes import WorkerChange
from ingestion_progress.tracker.plan import clean_text
from ingestion_progress.tracker.transitions import ContextMixin

MAX_CHUNK_LENGTH = 255


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
