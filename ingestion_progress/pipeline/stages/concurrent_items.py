"""Calls a function with several items at the same time, in threads."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from ingestion_progress.concurrency.thread_pool import CHECK_SECONDS, Stop, ThreadPool

Item = TypeVar("Item")
Result = TypeVar("Result")


def concurrently(
    items: Sequence[Item],
    call: Callable[[Item], Result],
    *,
    size: int,
    name: str,
    check: Callable[[], None],
) -> Iterator[tuple[Item, Result]]:
    """Yields items with their results as they come, from at most `size` threads.

    Raises what a call raises, or `check` while it waits: the threads are then not waited for.
    """
    results: queue.Queue[tuple[Item, Result]] = queue.Queue()
    stop = Stop()

    def work(_number: int, batch: Sequence[Item]) -> None:
        for item in batch:
            results.put((item, call(item)))

    with ThreadPool(work, name=name, size=size, capacity=0, check=check, stop=stop) as pool:
        for item in items:
            pool.put(item)
        for _ in items:
            yield _next(results, stop, check)


def _next(
    results: queue.Queue[tuple[Item, Result]], stop: Stop, check: Callable[[], None]
) -> tuple[Item, Result]:
    """A result that is there is not lost to the error of another item."""
    while True:
        with suppress(queue.Empty):
            return results.get_nowait()
        stop.raise_failure()
        check()
        with suppress(queue.Empty):
            return results.get(timeout=CHECK_SECONDS)
