"""Writes that a caller waits for: performed in order, tried again until their deadlines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ingestion_progress.exceptions import DATABASE_UNAVAILABLE, ProgressUnavailable
from ingestion_progress.tracker.database import is_transient

Result = TypeVar("Result")


@dataclass(eq=False, kw_only=True)
class Call(Generic[Result]):
    write: Callable[[], Result]
    deadline: float
    """Clock time."""
    future: Future[Result] = field(default_factory=Future)

    def perform(self, clock: Callable[[], float]) -> None:
        """Sets the result or the error. Before the deadline, it raises transient errors."""
        if self.future.cancelled():
            return
        try:
            result = self.write()
        except DATABASE_UNAVAILABLE as error:
            if not is_transient(error):
                self._fail(error)
            elif clock() < self.deadline:
                raise
            else:
                self.expire()
        except Exception as error:  # noqa: BLE001  (the caller handles it)
            self._fail(error)
        else:
            if self.future.set_running_or_notify_cancel():
                self.future.set_result(result)

    def expire(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Calls:
    """Used in the writer's thread only."""

    def __init__(self) -> None:
        self._pending: deque[Call[Any]] = deque()

    def __bool__(self) -> bool:
        return bool(self._pending)

    def add(self, call: Call[Any]) -> None:
        self._pending.append(call)

    def perform(self, clock: Callable[[], float]) -> None:
        """Performs all calls in order. A call that raises remains the first."""
        while self._pending:
            self._pending[0].perform(clock)
            self._pending.popleft()

    def expire(self, now: float) -> None:
        """Sets TimeoutError as the result of calls whose deadline has passed."""
        expired = [call for call in self._pending if now >= call.deadline]
        for call in expired:
            self._pending.remove(call)
            call.expire()


@contextmanager
def timeout_as_unavailable(job_id: str, action: str) -> Iterator[None]:
    """Around a writer's call: raises ProgressUnavailable instead of TimeoutError."""
    try:
        yield
    except TimeoutError:
        raise ProgressUnavailable(job_id, action) from None
