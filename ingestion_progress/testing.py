"""For the tests of your ingestion tasks: trackers that write at once, in the test's transaction.

    with synchronous_tracking():
        my_task()

or, for every test of a class, `class MyTests(SynchronousTrackingMixin, TestCase)`. Progress
then belongs to the test's own transaction, like any other row.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from ingestion_progress.concurrency.threads import run_aside
from ingestion_progress.tracker.sql import progress_alias
from ingestion_progress.tracker.writer import use_writer
from ingestion_progress.tracker.writers import flush_buffer, is_in_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingestion_progress.tracker.buffer import Buffer

Result = TypeVar("Result")


@contextmanager
def synchronous_tracking() -> Iterator[None]:
    """Trackers that are made inside the block write synchronously."""
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
    """Writes at once, on the connection of the test's transaction.

    A running event loop stands still meanwhile. The transaction is that of the loop's own thread
    if it was opened there before the loop ran; otherwise it is in the thread to which
    `sync_to_async` goes, as are the test's own queries.
    """

    def notice(self, buffer: Buffer, *, is_urgent: bool = False) -> None:
        self.call(functools.partial(flush_buffer, buffer))

    def open(self, buffer: Buffer) -> None:
        """Nothing to keep alive: a test is over before a heartbeat is due."""

    def close(self, buffer: Buffer) -> None:
        """Nothing was opened."""

    def call(self, write: Callable[[], Result]) -> Result:
        if not is_in_event_loop():
            return write()
        with loop_hidden():
            if connections[progress_alias()].in_atomic_block:
                return write()
        return run_aside(sync_to_async(write))

    async def acall(self, write: Callable[[], Result]) -> Result:
        return self.call(write)


@contextmanager
def loop_hidden() -> Iterator[None]:
    """For Django, no event loop runs in this thread: it has the connections from before the loop,
    and they may be used. Nothing in the block may wait for the loop.
    """
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)  # noqa: SLF001  (there is no public word for it)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)  # noqa: SLF001
