"""The job of the running code, in a context variable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingestion_progress.tracker.jobs import JobTracker

_current: ContextVar[JobTracker | None] = ContextVar("current_job", default=None)


def current_job() -> JobTracker | None:
    """The job of the innermost `track` or `attach` block around the caller; None outside of all.

    Coroutines and `asyncio.to_thread` inherit it. A thread does not: start it with
    `contextvars.copy_context().run`.
    """
    return _current.get()


def set_current(job: JobTracker | None) -> JobTracker | None:
    """Makes this the current job, and returns the former one."""
    former = _current.get()
    _current.set(job)
    return former


@contextmanager
def back_to(former: JobTracker | None) -> Iterator[None]:
    """Around the end of a block: makes the job around it the current one afterwards."""
    try:
        yield
    finally:
        _current.set(former)
