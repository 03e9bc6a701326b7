"""The clock of the progress database, by which all times of jobs are written and compared.

Hosts whose clocks differ would take each other's living jobs for lost. So each process measures how
far its clock is from that of PostgreSQL, at its first connection and once a minute. SQLite has the
clock of its host.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import Error as DatabaseFailure
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from django.utils import timezone

MEASURE_SECONDS = 60.0


class DatabaseClock:
    """This host's clock, corrected by the offset that was measured last."""

    def __init__(self) -> None:
        self._offset_seconds = 0.0
        self._measure_at = -math.inf

    def now(self) -> datetime:
        return timezone.now() + timedelta(seconds=self._offset_seconds)

    def measure(self, connection: BaseDatabaseWrapper) -> None:
        """Measures the offset if it is due, by a connection to the progress database."""
        is_due = time.monotonic() >= self._measure_at
        if connection.vendor != "postgresql" or connection.connection is None or not is_due:
            return
        self._measure_at = time.monotonic() + MEASURE_SECONDS
        with (
            suppress(DatabaseFailure),
            connection.wrap_database_errors,
            connection.connection.cursor() as cursor,  # Django's would count it as a query
        ):
            before = timezone.now().timestamp()
            cursor.execute("SELECT EXTRACT(EPOCH FROM clock_timestamp())")
            there = float(cursor.fetchone()[0])
            self._learn(there, before, timezone.now().timestamp())

    def _learn(self, there: float, before: float, after: float) -> None:
        """The time there was read between the two times here. An offset that fits is kept: clocks
        that agree stay equal.
        """
        if not before <= there - self._offset_seconds <= after:
            self._offset_seconds = there - (before + after) / 2


database_clock = DatabaseClock()
database_now = database_clock.now


@receiver(connection_created)
def measure_clock(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    job = apps.get_model("ingestion_progress", "Job")
    if connection.alias == router.db_for_write(job):
        database_clock.measure(connection)
