"""Ends database connections that hang.

If a server is cut off without a message, the kernel may wait for its answer for hours. Time-outs
of the server and TCP keepalives do not end a query whose packets a proxy still acknowledges.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db.backends.base.base import BaseDatabaseWrapper

from ingestion_progress.concurrency.process_thread import ProcessThread

CHECK_SECONDS = 1.0


class Watchdog(ProcessThread):
    """Shuts down the socket of a connection that is in use for too long. Its thread then gets an
    OperationalError, as if the server had closed the connection.
    """

    def __init__(self) -> None:
        super().__init__("ingestion-progress-watchdog", exit_seconds=2.0, exit_priority=10)

    def _reset(self) -> None:
        super()._reset()
        self._is_stopped = threading.Event()
        self._watched: dict[object, tuple[float, BaseDatabaseWrapper]] = {}

    @contextmanager
    def limit(self, connection: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
        """The block uses the connection, for up to `seconds`."""
        if connection.vendor != "postgresql":  # SQLite limits its waits itself
            yield
            return
        key = object()
        self._watched[key] = (time.monotonic() + seconds, connection)
        with suppress(RuntimeError):  # the interpreter ends
            self.start()
        try:
            yield
        finally:
            self._watched.pop(key, None)

    def _run(self) -> None:
        while not self._is_stopped.wait(CHECK_SECONDS):
            with self._working:
                self._check(time.monotonic())
        self._is_stopped.clear()

    def _check(self, now: float) -> None:
        for key, (until, connection) in list(self._watched.items()):
            if now >= until:
                self._watched.pop(key, None)
                shut_down(connection)

    def _wake(self) -> None:
        self._is_stopped.set()


def shut_down(connection: BaseDatabaseWrapper) -> None:
    """Ends the connection of another thread, which may be waiting for an answer."""
    with suppress(Exception):  # it has been closed meanwhile
        copy = os.dup(connection.connection.fileno())
        with socket.socket(fileno=copy) as end:
            end.shutdown(socket.SHUT_RDWR)


watchdog = Watchdog()
