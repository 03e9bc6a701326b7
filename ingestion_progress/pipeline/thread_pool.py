"""Threads that share the work of one stage through a bounded queue."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from django.db import connections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

Item = TypeVar("Item")

# How soon everybody notices that the work is over, was cancelled or has failed.
CHECK_SECONDS = 0.05
# A thread that waits for a locked file or database cannot be told; it ends with the process.
STOP_SECONDS = 1.0


class Crew(Generic[Item]):
    """A pool of threads. Leaving the block waits until all that was put in is done.

    `work(number, items)` is called in thread `number`, from 1, with one item or more. The first
    exception of a thread stops the whole crew, and is raised where the next item is put in or
    the block is left. An exception inside the block stops the crew within one call of `work`.
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
        on_depth: Callable[[int], None] | None = None,
    ) -> None:
        """`capacity`: items that may wait. `check`: raises when everything is to stop.
        `on_depth`: told how many items wait, whenever that changes."""
        self._work = work
        self._batch_size = batch_size
        self._check = check
        self._on_depth = on_depth
        self._waiting: queue.Queue[Item] = queue.Queue(capacity)
        self._is_complete = threading.Event()
        self._is_stopped = threading.Event()
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._run, args=[n], name=f"{name}-{n}", daemon=True)
            for n in range(1, size + 1)
        ]

    def put(self, item: Item) -> None:
        """Waits for room in the queue."""
        while True:
            self._raise_failure()
            try:
                self._waiting.put(item, timeout=CHECK_SECONDS)
            except queue.Full:
                continue
            self._tell_depth()
            return

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._is_complete.set()
                while any(thread.is_alive() for thread in self._threads):
                    self._raise_failure()
                    self._wait(CHECK_SECONDS)
                self._raise_failure()
        finally:
            self._is_stopped.set()
            self._wait(STOP_SECONDS)

    def _wait(self, seconds: float) -> None:
        """For the threads to end, all of them together no longer than this."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._check()

    def _run(self, number: int) -> None:
        try:
            while batch := self._next_batch():
                self._work(number, batch)
        except BaseException as error:  # noqa: BLE001  (it is raised where the crew was started)
            self._failure = self._failure or error
            self._is_stopped.set()
        finally:
            connections.close_all()

    def _next_batch(self) -> list[Item]:
        """What waits, up to a batch; empty when there is nothing to come."""
        batch: list[Item] = []
        while not batch:
            if self._is_stopped.is_set():
                return []
            # Asked before the queue: what is put in before completion is always seen.
            is_complete = self._is_complete.is_set()
            try:
                batch.append(self._waiting.get(timeout=CHECK_SECONDS))
            except queue.Empty:
                if is_complete:
                    return []
        while len(batch) < self._batch_size:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        self._tell_depth()
        return batch

    def _tell_depth(self) -> None:
        if self._on_depth:
            self._on_depth(self._waiting.qsize())
