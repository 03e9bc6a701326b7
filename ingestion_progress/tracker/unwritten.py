"""The buffers of a process whose changes are to be written."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from contextlib import nullcontext

from ingestion_progress.exceptions import DATABASE_UNAVAILABLE
from ingestion_progress.tracker.buffer import Buffer
from ingestion_progress.tracker.database import lock_limit


class UnwrittenBuffers:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buffers: set[Buffer] = set()

    def __bool__(self) -> bool:
        return bool(self._buffers)

    def add(self, buffers: Collection[Buffer]) -> bool:
        """Were there none before?"""
        with self._lock:
            is_first = not self._buffers
            self._buffers.update(buffers)
            return is_first

    def all(self) -> set[Buffer]:
        return set(self._buffers)

    def flush(self) -> int:
        """Writes them, each in its transaction; returns how many. After an error the rest remains.

        Those that failed before come last, each in turn, and wait only shortly for a locked row.
        """
        with self._lock:
            taken, self._buffers = self._buffers, set()
        buffers = sorted(taken, key=lambda buffer: buffer.failed_at)
        for number, buffer in enumerate(buffers):
            try:
                with lock_limit() if buffer.failed_at else nullcontext():
                    buffer.flush()
            except DATABASE_UNAVAILABLE:
                buffer.failed_at = time.monotonic()
                self.add(buffers[number:])
                raise
            buffer.failed_at = 0.0
        return len(buffers)
