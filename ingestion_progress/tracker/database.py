"""The database of the progress tables, and calls that wait for it.

It is always the primary, never a replica.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.db import InterfaceError, OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from ingestion_progress.exceptions import ProgressUnavailable
from ingestion_progress.models import Job
from ingestion_progress.models.jobs import JobQuerySet

JOBS_PER_TRANSACTION = 200

Result = TypeVar("Result")
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


def locked_jobs(job_ids: Sequence[str]) -> dict[str, Job]:
    """Those that exist, by id. Locked in one order, so that two who lock them cannot deadlock."""
    return jobs().select_for_update().filter(pk__in=job_ids).order_by("pk").in_bulk()


def in_chunks(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many ids as one transaction should lock."""
    for start in range(0, len(job_ids), JOBS_PER_TRANSACTION):
        yield job_ids[start : start + JOBS_PER_TRANSACTION]


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


@dataclass(eq=False, kw_only=True)
class Call(Generic[Result]):
    """A write that a caller waits for."""

    write: Callable[[], Result]
    deadline: float
    """Clock time."""
    future: Future[Result] = field(default_factory=Future)

    def perform(self, clock: Callable[[], float]) -> None:
        """Sets the result or the error. Before the deadline, it raises transient errors."""
        if self.future.cancelled():
            return
        try:
            result = self.write()
        except Exception as error:
            if is_transient(error) and clock() < self.deadline:
                raise
            self.fail(TimeoutError() if is_transient(error) else error)
        else:
            if self.future.set_running_or_notify_cancel():
                self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Calls(deque[Call[Any]]):
    """The pending calls of a process, in order. Used in the writer's thread only."""

    def perform(self, clock: Callable[[], float]) -> None:
        """Performs all calls. One that raises remains the first."""
        while self:
            self[0].perform(clock)
            self.popleft()

    def expire(self, now: float) -> None:
        """Sets TimeoutError as the result of calls whose deadline has passed."""
        for call in [call for call in self if now >= call.deadline]:
            self.remove(call)
            call.fail(TimeoutError())


@contextmanager
def timeout_as_unavailable(job_id: str, action: str) -> Iterator[None]:
    """Around a writer's call: raises ProgressUnavailable instead of TimeoutError."""
    try:
        yield
    except TimeoutError:
        raise ProgressUnavailable(job_id, action) from None
