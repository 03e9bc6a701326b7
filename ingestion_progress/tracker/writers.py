"""Who carries changes from memory to the database, and when.

`BackgroundWriter` (in `background`) is what a process uses; `ingestion_progress.testing` puts one
in its place that writes at once, in the test's transaction.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from django.db import InterfaceError, OperationalError

from ingestion_progress.exceptions import JobSuperseded, ProgressUnavailable
from ingestion_progress.tracker.sql import write_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingestion_progress.tracker.buffer import Buffer

logger = logging.getLogger("ingestion_progress.tracker")

Result = TypeVar("Result")


class Writer(Protocol):
    def notice(self, buffer: Buffer, *, is_urgent: bool = False) -> None:
        """There is something to write, soon or (urgent) now. Does not wait."""

    def open(self, buffer: Buffer) -> None:
        """The attempt is running here: keep it alive."""

    def close(self, buffer: Buffer) -> None:
        """The attempt has ended, or this process has left it."""

    def call(self, write: Callable[[], Result]) -> Result:
        """Writes now and waits. Raises TimeoutError where the database stays away."""

    async def acall(self, write: Callable[[], Result]) -> Result:
        """The same for async code, without blocking the loop."""


@contextmanager
def in_time(job_id: str, action: str) -> Iterator[None]:
    """Around a writer's call: what it could not do for the job in time is ProgressUnavailable."""
    try:
        yield
    except TimeoutError:
        raise ProgressUnavailable(job_id, action) from None


def flush_buffer(buffer: Buffer) -> None:
    """Writes what is pending; puts it back, in order, where the database fails."""
    changes = buffer.take()
    if not changes:
        return
    try:
        recorded = write_changes(buffer.attempt, changes)
    except JobSuperseded:
        buffer.is_over = True
        logger.warning("tracker_superseded", extra={"job_id": buffer.attempt.job_id})
    except Exception as error:
        if not is_transient(error):  # a driver refuses some values with errors of its own
            logger.exception("tracker_changes_refused", extra={"job_id": buffer.attempt.job_id})
            return
        buffer.put_back(changes)
        raise
    else:
        buffer.learn(recorded)


def is_transient(error: Exception) -> bool:
    """May the same statement succeed later? A missing table or a refused value will not."""
    if isinstance(error, InterfaceError):
        return True
    # SQLite reports a mistake in the statement, such as a missing table, as operational too.
    code = getattr(error.__cause__, "sqlite_errorname", "")
    return isinstance(error, OperationalError) and code != "SQLITE_ERROR"


def is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
