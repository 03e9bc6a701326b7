"""The queue of this process's threads for the lock of a SQLite file: first come, first served.

SQLite has one writer. A connection that waits for another one asks again after pauses of up to a
tenth of a second, so a thread that writes one transaction after the other lets no other one in.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

# After this a thread asks SQLite itself, whose error names the problem.
LONGEST_WAIT_SECONDS = 10.0


class WriteQueue:
    """A lock that goes to the thread that has waited for the longest time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._is_taken = False

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self, seconds: float) -> bool:
        """Returns False if it was not this thread's turn within that time."""
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return True
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        if mine.acquire(timeout=seconds):
            return True
        with self._lock:
            if mine not in self._waiting:  # it came at the last moment
                return True
            self._waiting.remove(mine)
            return False

    def pass_on(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False


_queues: dict[str, WriteQueue] = {}
os.register_at_fork(after_in_child=_queues.clear)


def write_queue_of(connection: BaseDatabaseWrapper) -> WriteQueue:
    return _queues.setdefault(str(connection.settings_dict["NAME"]), WriteQueue())


@contextmanager
def write_transaction(using: str) -> Iterator[None]:
    """`transaction.atomic`. The outermost one of a thread on SQLite waits for its turn."""
    connection = connections[using]
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        with transaction.atomic(using=using):
            yield
        return
    with ExitStack() as turn:
        queue = write_queue_of(connection)
        if queue.take(LONGEST_WAIT_SECONDS):
            turn.callback(queue.pass_on)
        with transaction.atomic(using=using):
            # Before what others do after the COMMIT, which may take long, or write as well.
            transaction.on_commit(turn.close, using=using)
            yield
