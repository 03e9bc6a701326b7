"""For the tests of your ingestion tasks: trackers that write at once, in the test's transaction.

    with synchronous_tracking():
        my_task()

or, for every test of a class, `class MyTests(SynchronousTrackingMixin, TestCase)`. Progress
then belongs to the test's own transaction, like any other row.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ingestion_progress.tracker.background import use_writer
from ingestion_progress.tracker.writers import InlineWriter

if TYPE_CHECKING:
    from collections.abc import Iterator


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
