"""The database of the progress tables: always the primary, never a replica."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from ingestion_progress.models import Job
from ingestion_progress.models.jobs import JobQuerySet

Row = TypeVar("Row", bound=Model)


def progress_alias() -> str:
    return router.db_for_write(Job)


def progress_connection() -> BaseDatabaseWrapper:
    """The connection of the current thread."""
    return connections[progress_alias()]


def progress_transaction() -> AbstractContextManager[None]:
    return transaction.atomic(using=progress_alias())


def jobs() -> JobQuerySet:
    return Job.objects.using(progress_alias())


def rows(model: type[Row]) -> QuerySet[Row]:
    return QuerySet(model, using=progress_alias())


def rows_of(model: type[Row], job: Job, **conditions: str) -> QuerySet[Row]:
    """The job's stages, workers or events."""
    return rows(model).filter(job=job, **conditions)


def locked_job(**conditions: str) -> Job | None:
    """The job that matches, locked until the transaction ends."""
    return jobs().select_for_update().filter(**conditions).first()


def is_transient(error: Exception) -> bool:
    """May the same statement succeed later? A missing table or a refused value will not."""
    if isinstance(error, InterfaceError):
        return True
    # SQLite reports a mistake in the statement, such as a missing table, as operational too.
    code = getattr(error.__cause__, "sqlite_errorname", "")
    return isinstance(error, OperationalError) and code != "SQLITE_ERROR"


def is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def holds_sqlite_lock() -> bool:
    """Is this thread inside a transaction on the SQLite file of the progress tables?

    A second connection would wait for it for ever, so the tracker has to use this connection.
    """
    if is_in_event_loop():
        return False
    connection = progress_connection()
    return connection.vendor == "sqlite" and connection.in_atomic_block
