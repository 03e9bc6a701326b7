"""A pool of threads that process items from a bounded queue."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Generic, Self, TypeVar

from django.db import connections

Item = TypeVar("Item")

# The longest time until a thread notices a cancellation or a failure.
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


class WaitingItems(Generic[Item]):
    """A bounded queue that ends: unlike with `queue.Queue`, its end wakes the threads that wait."""

    def __init__(self, capacity: int) -> None:
        """0: without a limit."""
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._is_complete = False
        lock = threading.Lock()
        self._has_item, self._has_room = threading.Condition(lock), threading.Condition(lock)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item, seconds: float) -> bool:
        """Returns False if it is still full after this time."""
        with self._has_room:
            if not self._has_room.wait_for(lambda: not self._is_full, seconds):
                return False
            self._items.append(item)
            self._has_item.notify()
            return True

    def take(self, most: int, seconds: float, *, gather_seconds: float = 0.0) -> list[Item] | None:
        """The oldest items; empty if there are none after this time, None if none will come.

        Waits so long for more after the first, unless there are `most` or none will come.
        """
        with self._has_item:
            self._has_item.wait_for(lambda: self._items or self._is_complete, seconds)
            if self._items and gather_seconds:
                self._has_item.wait_for(
                    lambda: len(self._items) >= most or self._is_complete, gather_seconds
                )
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._has_room.notify(len(taken))
            return None if self._is_complete and not taken else taken

    def complete(self) -> None:
        with self._has_item:
            self._is_complete = True
            self._has_item.notify_all()

    @property
    def _is_full(self) -> bool:
        return 0 < self._capacity <= len(self._items)


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
        gather_seconds: float = 0.0,
        check: Callable[[], None],
        stop: Stop | None = None,
        on_depth: Callable[[int], object] = lambda depth: None,
    ) -> None:
        """`capacity`: the most items that wait. `check` raises when the work is to stop.
        `gather_seconds`: how long an item waits for others of its batch. `on_depth` receives the
        number of waiting items whenever it changes."""
        self._work = work
        self._batch_size = batch_size
        self._gather_seconds = gather_seconds
        self._check = check
        self._on_depth = on_depth
        self._waiting = WaitingItems[Item](capacity)
        self._stop = stop or Stop()
        self._threads = [
            # Each thread runs in a copy of this context, which has the current job.
            threading.Thread(
                target=copy_context().run, args=[self._run, n], name=f"{name}-{n}", daemon=True
            )
            for n in range(1, size + 1)
        ]

    def put(self, item: Item) -> None:
        """Waits while the queue is full."""
        while True:
            self._raise_failure()
            if self._waiting.put(item, CHECK_SECONDS):
                self._on_depth(len(self._waiting))
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
        self._waiting.complete()
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
            batch = self._waiting.take(
                self._batch_size, CHECK_SECONDS, gather_seconds=self._gather_seconds
            )
            if batch is None:
                break
            if batch:
                self._on_depth(len(self._waiting))
                return batch
        return []
