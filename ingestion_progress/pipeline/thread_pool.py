"""A pool of threads that process items from a bounded queue."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Generic, Self, TypeVar

from django.db import connections

Item = TypeVar("Item")

# The longest time until a thread notices the end of the work, a cancellation or a failure.
CHECK_SECONDS = 0.05
# Pools that stop together wait for their threads. One that waits for a locked file or database
# cannot be interrupted; it ends with the process.
STOP_SECONDS = 1.0


class Stop:
    """Ends all pools that share it: what fails in one is raised in each. They wait for their
    threads for STOP_SECONDS altogether.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: float | None = None
        self._failure: BaseException | None = None

    @property
    def is_set(self) -> bool:
        return self._until is not None

    @property
    def seconds_left(self) -> float:
        return STOP_SECONDS if self._until is None else self._until - time.monotonic()

    def set(self, failure: BaseException | None = None) -> None:
        with self._lock:
            self._failure = self._failure or failure
            self._until = self._until or time.monotonic() + STOP_SECONDS

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class ThreadPool(Generic[Item]):
    """Leaving the block waits until every item is processed.

    `work(number, items)` runs in thread `number`, from 1, with at least one item. The first
    exception of a thread stops the pool and is raised by the next `put`, or at the end of the
    block. An exception inside the block stops the pool after the current calls of `work`. Either
    also stops the pools that share `stop`.
    """

    def __init__(
        self,
        work: Callable[[int, Sequence[Item]], None],
        *,
        name: str,
        size: int = 1,
        capacity: int = 32,
        batch_size: int = 1,
        check: Callable[[], None],
        stop: Stop | None = None,
        on_depth: Callable[[int], object] = lambda depth: None,
    ) -> None:
        """`capacity`: the most items that wait. `check` raises when the work is to stop.
        `on_depth` receives the number of waiting items whenever it changes."""
        self._work = work
        self._batch_size = batch_size
        self._check = check
        self._on_depth = on_depth
        self._waiting: queue.Queue[Item] = queue.Queue(capacity)
        self._is_complete = threading.Event()
        self._stop = stop or Stop()
        self._threads = [
            # In a copy of this context, which has the current job.
            threading.Thread(
                target=copy_context().run, args=[self._run, n], name=f"{name}-{n}", daemon=True
            )
            for n in range(1, size + 1)
        ]

    def put(self, item: Item) -> None:
        """Waits while the queue is full."""
        while True:
            self._raise_failure()
            with contextlib.suppress(queue.Full):
                self._waiting.put(item, timeout=CHECK_SECONDS)
                self._on_depth(self._waiting.qsize())
                return

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        try:
            if kind is None:
                self._complete()
        finally:
            if any(thread.is_alive() for thread in self._threads):
                self._stop.set()
                self._join(self._stop.seconds_left)

    def _complete(self) -> None:
        self._is_complete.set()
        while any(thread.is_alive() for thread in self._threads):
            self._raise_failure()
            self._join(CHECK_SECONDS)
        self._raise_failure()

    def _join(self, seconds: float) -> None:
        """Waits for all threads, together no longer than this."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _raise_failure(self) -> None:
        self._stop.raise_failure()
        self._check()

    def _run(self, number: int) -> None:
        try:
            while batch := self._next_batch():
                self._work(number, batch)
        except BaseException as error:  # noqa: BLE001  (raised by `put` or `__exit__`)
            self._stop.set(error)
        finally:
            connections.close_all()

    def _next_batch(self) -> list[Item]:
        """The waiting items, up to a batch; empty when the thread is to end."""
        while not self._stop.is_set:
            # Read before the queue, so that no item that was put before completion is missed.
            is_complete = self._is_complete.is_set()
            try:
                batch = [self._waiting.get(timeout=CHECK_SECONDS)]
            except queue.Empty:
                if is_complete:
                    break
                continue
            with contextlib.suppress(queue.Empty):
                while len(batch) < self._batch_size:
                    batch.append(self._waiting.get_nowait())
            self._on_depth(self._waiting.qsize())
            return batch
        return []
