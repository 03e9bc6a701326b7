"""The thread in which the feed asks the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import Error as DatabaseFailure
from django.db import connections, reset_queries

from ingestion_progress.concurrency.threads import PatientThread, WorkerThread

P = ParamSpec("P")
T = TypeVar("T")

# With Django's default, CONN_MAX_AGE = 0, every tick would connect: 5 ms on PostgreSQL, beside
# 0.4 ms for the query. One that is never renewed would miss a database file that was replaced.
CONNECTION_MAX_AGE_SECONDS = 60.0
POLL_TIMEOUT_SECONDS = 10.0


class Reader(WorkerThread):
    """A thread of the feed's own, with its own database connection.

    A request's executor and connection belong to that request, and end with it.
    """

    def __init__(self) -> None:
        super().__init__("ingestion-progress-feed")
        self._renew_at = time.monotonic() + CONNECTION_MAX_AGE_SECONDS

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

        return await super().run(call)

    def _disconnect(self) -> None:
        connections.close_all()  # of this thread
        self._renew_at = time.monotonic() + CONNECTION_MAX_AGE_SECONDS


def patient_reader() -> PatientThread:
    """A reader that is replaced when it hangs."""
    return PatientThread(Reader, patience_seconds=POLL_TIMEOUT_SECONDS)
