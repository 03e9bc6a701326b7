"""The buffers of a process whose changes are to be written."""

from __future__ import annotations

import threading
from collections.abc import Collection

from ingestion_progress.exceptions import DATABASE_UNAVAILABLE
from ingestion_progress.tracker.buffer import Buffer, flush_all


class UnwrittenBuffers:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buffers: set[Buffer] = set()

    def __bool__(self) -> bool:
        return bool(self._buffers)

    def add(self, buffers: Collection[Buffer]) -> bool:
        """Returns whether there were none before."""
        with self._lock:
            is_first = not self._buffers
            self._buffers.update(buffers)
            return is_first

    def all(self) -> set[Buffer]:
        return set(self._buffers)

    def flush(self) -> int:
        """Writes the buffers, many in one transaction, and returns their number. Buffers of locked
        jobs remain, and all buffers after an error.
        """
        with self._lock:
            taken, self._buffers = self._buffers, set()
        try:
            locked = flush_all(taken)
        except DATABASE_UNAVAILABLE:
            self.add(taken)
            raise
        self.add(locked)
        return len(taken) - len(locked)
