"""When the threads of a process may send the next question."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from ingestion_progress.concurrency.thread_pool import CHECK_SECONDS
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import ModelUnavailable
from ingestion_progress.pipeline.retries import pause
from ingestion_progress.tracker import JobTracker

# A shorter pause is not shown, unless others have come before it.
SHOWN_SECONDS = 1.0


class Waiting:
    """A context manager around one question: shows what its job waits for.

    Every wait raises JobCancelled or JobSuperseded if the job is to stop, and ModelUnavailable if
    it would be longer than the patience.
    """

    def __init__(
        self, job: JobTracker | None, host: str, *, stage: str, patience_seconds: float
    ) -> None:
        self._job, self._host, self._stage = job, host, stage
        self._until = time.monotonic() + patience_seconds
        self._shown = ExitStack()
        self._is_shown = self._has_paused = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._shown.close()

    def check(self, seconds: float = 0.0) -> None:
        """May it wait for so long?"""
        if self._job:
            self._job.raise_if_cancelled()
        if time.monotonic() + seconds > self._until:
            raise ModelUnavailable(self._host)

    def pause(self, seconds: float) -> None:
        self.check(seconds)
        if self._job is None:
            time.sleep(seconds)
            return
        if not self._is_shown and (seconds >= SHOWN_SECONDS or self._has_paused):
            self._is_shown = True
            self._shown.enter_context(
                self._job.waiting(
                    StoredSentence("the model at %(host)s", host=self._host), stage=self._stage
                )
            )
        self._has_paused = True
        pause(self._job, seconds)


class Gate:
    """Lets `size` threads through at a time, and none during a pause. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._until = 0.0

    def close(self, seconds: float) -> None:
        """For all threads, for at least this time."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    @contextmanager
    def passed(self, waiting: Waiting) -> Iterator[None]:
        while True:
            while (left := self._until - time.monotonic()) > 0:
                waiting.pause(left)
            while not self._slots.acquire(timeout=CHECK_SECONDS):
                waiting.check()
            if self._until <= time.monotonic():
                break
            self._slots.release()
        try:
            yield
        finally:
            self._slots.release()
