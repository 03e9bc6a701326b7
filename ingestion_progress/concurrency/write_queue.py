"""Queues for the lock of a SQLite file: its writers take turns.

SQLite has one writer. A connection that waits for another one asks again after pauses of up to a
tenth of a second, so one that writes one transaction after the other lets no other one in. The
threads of a process therefore form a queue, first come, first served, and of the processes each
one that waits is served before the last one is served again.
"""

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

# After this a writer asks SQLite itself, whose error names the problem.
LONGEST_WAIT_SECONDS = 10.0
# The same for the other processes: one may be stopped between its turn and its transaction.
LONGEST_WAIT_FOR_PROCESSES_SECONDS = 2.0
# Locked bytes of the file beside the database, and the pauses until a process asks again. Only
# the next writer asks often.
WRITES, IS_NEXT = 0, 1
PAUSE_SECONDS = {WRITES: 0.0003, IS_NEXT: 0.002}
FILE_SUFFIX = "-writers"


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


class ProcessQueue:
    """The turns of the processes that write to one SQLite file. Not for several threads at once:
    locks of a file belong to a process.

    The writer locks one byte of a file beside the database, and the next writer another one. Who
    has just written has to become the next one first, and cannot while another one is. The system
    unlocks the bytes of a process that ends.
    """

    def __init__(self, database: str) -> None:
        self._path = database + FILE_SUFFIX
        self._file: int | None = None

    def take(self, seconds: float) -> bool:
        """Returns False if it was not the turn of this process within that time."""
        until = time.monotonic() + seconds
        try:
            # Stays open: closing it would unlock what this process has locked.
            file = self._file
            if file is None:
                file = self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            if not _lock(file, IS_NEXT, until):
                return False
            try:
                return _lock(file, WRITES, until)
            finally:
                _unlock(file, IS_NEXT)
        except OSError:  # a folder or a file system without locks, or no descriptor is left
            return False

    def pass_on(self) -> None:
        if self._file is not None:
            _unlock(self._file, WRITES)


def _lock(file: int, byte: int, until: float) -> bool:
    while True:
        with suppress(BlockingIOError, PermissionError):  # another process has it
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(PAUSE_SECONDS[byte])


def _unlock(file: int, byte: int) -> None:
    fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)


_queues: dict[str, WriteQueue] = {}
_process_queues: dict[str, ProcessQueue] = {}
os.register_at_fork(after_in_child=_queues.clear)
os.register_at_fork(after_in_child=_process_queues.clear)


def write_queue_of(connection: BaseDatabaseWrapper) -> WriteQueue:
    return _queues.setdefault(str(connection.settings_dict["NAME"]), WriteQueue())


def _process_queue_of(connection: BaseDatabaseWrapper) -> ProcessQueue | None:
    if connection.is_in_memory_db():  # type: ignore[attr-defined]
        return None
    name = str(connection.settings_dict["NAME"])
    return _process_queues.setdefault(name, ProcessQueue(name))


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
            processes = _process_queue_of(connection)
            if processes and processes.take(LONGEST_WAIT_FOR_PROCESSES_SECONDS):
                turn.callback(processes.pass_on)
        with transaction.atomic(using=using):
            # Before what others do after the COMMIT, which may take long, or write as well.
            transaction.on_commit(turn.close, using=using)
            yield
