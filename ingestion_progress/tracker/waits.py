"""The services that a job waits for, in any number of threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models.statuses import EventLevel
from ingestion_progress.tracker.buffer import Buffer

# Short waits that follow each other have one line in the log.
LOG_SECONDS = 60.0


class Waits:
    """Thread-safe. The oldest wait is shown, until its thread goes on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._services: list[str] = []
        self._shown = ""
        self._logged_at: dict[str, float] = {}

    @contextmanager
    def waiting(self, buffer: Buffer, service: str, stage: str) -> Iterator[None]:
        with self._lock:
            self._services.append(service)
            self._show(buffer)
            is_logged = self._is_due(service)
        if is_logged:
            buffer.log(
                StoredSentence("Waiting for %(service)s.", service=service),
                level=EventLevel.WARNING,
                stage=stage,
            )
        try:
            yield
        finally:
            with self._lock:
                self._services.remove(service)
                self._show(buffer)
        if is_logged:
            buffer.log(
                StoredSentence("No longer waiting for %(service)s.", service=service),
                level=EventLevel.INFO,
                stage=stage,
            )

    def _show(self, buffer: Buffer) -> None:
        shown = self._services[0] if self._services else ""
        if shown != self._shown:
            self._shown = shown
            with buffer.change() as changes:
                changes.waiting_for = shown

    def _is_due(self, service: str) -> bool:
        now = self._clock()
        is_due = now >= self._logged_at.get(service, -LOG_SECONDS) + LOG_SECONDS
        if is_due:
            self._logged_at[service] = now
        return is_due
