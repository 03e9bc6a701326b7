"""The database of the progress tables, and calls that wait for it.

It is always the primary, never a replica.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.db import InterfaceError, OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from ingestion_progress.concurrency.watchdog import watchdog
from ingestion_progress.concurrency.write_queue import write_transaction
from ingestion_progress.exceptions import ProgressUnavailable
from ingestion_progress.models import Job, insert_rows, rows_by
from ingestion_progress.models.jobs import JobQuerySet

Result = TypeVar("Result")
Row = TypeVar("Row", bound=Model)

# A transaction or a query that takes longer hangs: its connection is ended.
HUNG_SECONDS = 10.0
# How long a person, or a write that is repeated, waits for a row that another connection locks.
LOCK_SECONDS = 1.0
LOCK_STATES = frozenset(
    {
        "55P03",  # lock_not_available: lock_timeout
        "57014",  # query_canceled: statement_timeout
        "40P01",  # deadlock_detected
        "40001",  # serialization_failure
    }
)

ALL_BUT_ID = tuple(each.name for each in Job._meta.concrete_fields if not each.primary_key)

_lock_seconds: ContextVar[float] = ContextVar("lock_seconds", default=0.0)


def progress_alias() -> str:
    return router.db_for_write(Job)


def progress_connection() -> BaseDatabaseWrapper:
    """The connection of the current thread."""
    return connections[progress_alias()]


@contextmanager
def progress_transaction() -> Iterator[None]:
    connection = progress_connection()
    if connection.in_atomic_block:
        with transaction.atomic(using=connection.alias):
            yield
        return
    with watched(), write_transaction(connection.alias):
        if connection.vendor == "postgresql" and (seconds := _lock_seconds.get()):
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = {seconds * 1000:.0f}")
        yield


def watched(seconds: float = HUNG_SECONDS) -> AbstractContextManager[None]:
    """Ends the connection of this thread if the block takes longer."""
    return watchdog.limit(progress_connection(), seconds)


@contextmanager
def lock_limit(seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Transactions of the block wait no longer for a row that another connection locks."""
    token = _lock_seconds.set(seconds)
    try:
        yield
    finally:
        _lock_seconds.reset(token)


def jobs() -> JobQuerySet:
    return Job.objects.using(progress_alias())


def rows(model: type[Row]) -> QuerySet[Row]:
    return QuerySet(model, using=progress_alias())


def rows_of(model: type[Row], job: Job, **conditions: str) -> QuerySet[Row]:
    """The job's stages, workers or events."""
    return rows(model).filter(job=job, **conditions)


def upsert(
    model: type[Row], changed: Iterable[Row], *, by: Sequence[str], columns: Sequence[str]
) -> None:
    """Writes these columns of the rows, and the rows that do not exist: one statement, or none."""
    insert_rows(list(changed), using=progress_alias(), by=by, columns=columns)


def insert(created: Iterable[Model], *, unless: Sequence[str] = ()) -> None:
    """Writes new rows of one model: one statement, or none. Their primary keys are not read.

    `unless`: fields whose values another row has already.
    """
    insert_rows(list(created), using=progress_alias(), by=unless)


def save_job(job: Job) -> None:
    """Writes all columns of a locked job."""
    upsert(Job, [job], by=["id"], columns=ALL_BUT_ID)


def rows_of_jobs(model: type[Row], job_ids: Sequence[str], **also: Any) -> list[Row]:
    """The stages, workers or samples of these jobs, in no order. `also`: fields with a value."""
    values = {field: [value] for field, value in also.items()}
    return rows_by(model, "job", job_ids, using=progress_alias(), also=values)


def unlocked(found: QuerySet[Row]) -> QuerySet[Row]:
    """Rows that nobody else has locked; locks them until the transaction ends."""
    can_skip = progress_connection().features.has_select_for_update_skip_locked
    return found.select_for_update(skip_locked=can_skip)


def locked_job(job_id: str) -> Job | None:
    """The job, locked until the transaction ends."""
    return locked_jobs([job_id]).get(job_id)


def locked_jobs(job_ids: Sequence[str], *, skip_locked: bool = False) -> dict[str, Job]:
    """The jobs that exist, by id. They are locked in one order, so two callers cannot deadlock.

    `skip_locked`: without those that another connection has locked.
    """
    found = rows_by(Job, "pk", job_ids, using=progress_alias(), lock=True, skip_locked=skip_locked)
    return {job.pk: job for job in found}


def is_transient(error: Exception) -> bool:
    """May the same statement succeed later? A missing table or a refused value will not."""
    if isinstance(error, InterfaceError):
        return True
    # SQLite reports a mistake in the statement, such as a missing table, as operational too.
    code = getattr(error.__cause__, "sqlite_errorname", "")
    return isinstance(error, OperationalError) and code != "SQLITE_ERROR"


def is_locked(error: Exception) -> bool:
    """Did the statement fail because of other transactions, on a server that is up?"""
    cause = error.__cause__
    return (getattr(cause, "sqlstate", "") or getattr(cause, "pgcode", "")) in LOCK_STATES


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
    job_id: str = ""
    """The job whose end it writes; empty if somebody waits for it."""
    future: Future[Result] = field(default_factory=Future)

    def perform(self, clock: Callable[[], float]) -> None:
        """Sets the result or the error. Before the deadline, it raises transient errors."""
        if self.future.cancelled():
            return
        try:
            with lock_limit():  # the same thread writes for other jobs
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
        """Performs all calls. One that raises remains, behind the others if its row is locked."""
        while self:
            try:
                self[0].perform(clock)
            except OperationalError as error:
                if is_locked(error):
                    self.rotate(-1)
                raise
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


@contextmanager
def others_go_on() -> Iterator[None]:
    """Around writes of several jobs, which are repeated: ignores that a row is locked."""
    try:
        yield
    except OperationalError as error:
        if not is_locked(error):
            raise


@contextmanager
def busy_as_unavailable(job_id: str, action: str) -> Iterator[None]:
    """Around a write that a person waits for: raises ProgressUnavailable if another connection
    holds the job's row.
    """
    try:
        with lock_limit():
            yield
    except OperationalError as error:
        if is_locked(error):
            raise ProgressUnavailable(job_id, action) from error
        raise
