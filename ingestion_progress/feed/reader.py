"""The thread in which the feed asks the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import Error as DatabaseFailure
from django.db import connections, reset_queries

from ingestion_progress.threads import WorkerThread

P = ParamSpec("P")
T = TypeVar("T")

# With Django's default, CONN_MAX_AGE = 0, every tick would connect: 5 ms on PostgreSQL, beside
# 0.4 ms for the query. One that is never renewed would miss a database file that was replaced.
CONNECTION_MAX_AGE_SECONDS = 60.0
# A database that accepts a query and never answers fails without an error. Its thread is given
# up and another one connects afresh, but only so many: they end when the network gives up.
POLL_TIMEOUT_SECONDS = 10.0
MAX_HUNG_READERS = 3


class Reader:
    """A thread of the feed's own, with its own database connection.

    A request's executor and connection belong to that request, and end with it.
    """

    def __init__(self) -> None:
        self._thread = WorkerThread("ingestion-progress-feed")
        self._renew_at = time.monotonic() + CONNECTION_MAX_AGE_SECONDS

    @property
    def is_alive(self) -> bool:
        """Closed readers live on until their last call has returned."""
        return self._thread.is_alive

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises."""

        def call() -> T:
            reset_queries()
            if time.monotonic() >= self._renew_at:
                self._disconnect()
            try:
                return function(*args, **kwargs)
            except DatabaseFailure:
                self._disconnect()
                raise

        return await self._thread.run(call)

    def close(self) -> None:
        """Ends the thread and its connections, after the call under way; waits for nothing."""
        self._thread.close()

    def _disconnect(self) -> None:
        connections.close_all()  # of this thread
        self._renew_at = time.monotonic() + CONNECTION_MAX_AGE_SECONDS


class PatientReader:
    """A reader that is replaced when it hangs."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._hung: list[Reader] = []

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises; raises TimeoutError where it takes too long."""
        try:
            async with asyncio.timeout(POLL_TIMEOUT_SECONDS):
                return await self._reader.run(function, *args, **kwargs)
        except TimeoutError:
            self._replace()
            raise

    def close(self) -> None:
        self._reader.close()

    def _replace(self) -> None:
        self._hung = [reader for reader in self._hung if reader.is_alive]
        if len(self._hung) < MAX_HUNG_READERS:
            self._reader.close()
            self._hung.append(self._reader)
            self._reader = Reader()
