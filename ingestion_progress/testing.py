"""For tests of ingestion tasks: trackers that write immediately, in the test's transaction.

    with synchronous_tracking():
        my_task()

or, for every test of a class, `class MyTests(SynchronousTrackingMixin, TestCase)`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

from ingestion_progress.concurrency.compat.event_loop import hidden_event_loop
from ingestion_progress.concurrency.worker_thread import run_in_new_loop
from ingestion_progress.tracker.buffer import Buffer
from ingestion_progress.tracker.database import is_in_event_loop, progress_connection
from ingestion_progress.tracker.writer import use_writer

Result = TypeVar("Result")


@contextmanager
def synchronous_tracking() -> Iterator[None]:
    """Trackers that are created in the block write synchronously."""
    before = use_writer(InlineWriter())
    try:
        yield
    finally:
        use_writer(before)


class SynchronousTrackingMixin:
    """Put it before `TestCase`."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        with synchronous_tracking():
            return super().run(*args, **kwargs)  # type: ignore[misc]


class InlineWriter:
    """Writes immediately, on the connection of the test's transaction. Blocks a running event loop.

    In async code, that is the connection of the loop's thread if it has an open transaction from
    before the loop ran. Otherwise it is the connection of the thread that `sync_to_async` uses, as
    for the test's own queries.
    """

    def notice(self, buffer: Buffer, *, is_urgent: bool = False) -> None:
        self.call(buffer.flush)

    def open(self, buffer: Buffer) -> None:
        """A test ends before a heartbeat is due."""

    def close(self, buffer: Buffer) -> None:
        """Nothing was opened, so nothing is closed."""

    def call(self, write: Callable[[], Result]) -> Result:
        if not is_in_event_loop():
            return write()
        with hidden_event_loop():
            if progress_connection().in_atomic_block:
                return write()
        return run_in_new_loop(sync_to_async(write))

    async def acall(self, write: Callable[[], Result]) -> Result:
        return self.call(write)

    def postpone(self, job_id: str, write: Callable[[], object]) -> None:
        self.call(write)
