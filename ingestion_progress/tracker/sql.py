"""Writes changes and heartbeats of attempts in short transactions.

Every writer of a job locks its row first (SQLite: begins IMMEDIATE). So writers of one job cannot
deadlock, and their sums are exact. Who writes one job waits for its lock; who writes several
leaves those out that are locked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter

from django.db import transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce

from ingestion_progress import wakeups
from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.models import Job, Stage
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import EventLevel, JobStatus
from ingestion_progress.tracker.changes import EventEntry, JobChanges
from ingestion_progress.tracker.database import (
    insert,
    jobs,
    locked_job,
    locked_jobs,
    progress_alias,
    progress_transaction,
    rows_of_jobs,
    unlocked,
)
from ingestion_progress.tracker.plan import Attempt
from ingestion_progress.tracker.writes import JobWrites, event_of
from ingestion_progress.wire.forecast import History


@dataclass(frozen=True, kw_only=True)
class WriteResult:
    """The state of the job after a write."""

    status: JobStatus
    is_cancel_requested: bool
    stages: Sequence[Stage]

    @classmethod
    def of(cls, job: Job, stages: Sequence[Stage]) -> WriteResult:
        is_requested = job.cancel_requested_at is not None
        return cls(status=job.job_status, is_cancel_requested=is_requested, stages=stages)


SUPERSEDED = WriteResult(status=JobStatus.LOST, is_cancel_requested=False, stages=())
"""The result for an attempt that a newer one has replaced."""


def notify_on_commit(job_id: str, *, is_end: bool = False) -> None:
    """Wakes the feeds after the COMMIT. To be called in the transaction that writes the job."""

    def publish() -> None:  # no partial: Django logs the name of a callback that fails
        wakeups.publish(job_id, is_end=is_end)

    transaction.on_commit(publish, using=progress_alias(), robust=True)


def write_changes(attempt: Attempt, changes: JobChanges) -> WriteResult:
    """Adds `changes` to the rows. Raises JobSuperseded if a newer attempt exists."""
    with progress_transaction():
        job = locked_attempt(attempt)
        return WriteResult.of(job, write_locked(job, changes, attempt.history))


def write_several(pending: Sequence[tuple[Attempt, JobChanges]]) -> list[WriteResult | None]:
    """Adds changes of several attempts in one transaction; returns the result of each.

    None: not written, because another connection has locked the job's row. A superseded attempt
    has the result `SUPERSEDED`.
    """
    with progress_transaction():
        job_ids = {attempt.job_id for attempt, _ in pending}
        locked = locked_jobs(list(job_ids), skip_locked=True)
        others = jobs().filter(pk__in=job_ids - locked.keys())
        epochs = dict(others.values_list("pk", "epoch"))  # no query if there are none
        writes = JobWrites(list(locked.values()))
        results = [
            None
            if epochs.get(attempt.job_id) == attempt.epoch
            else _applied(writes, locked.get(attempt.job_id), attempt, changes)
            for attempt, changes in pending
        ]
        writes.save()
        return results


def _applied(
    writes: JobWrites, job: Job | None, attempt: Attempt, changes: JobChanges
) -> WriteResult:
    if job is None or job.epoch != attempt.epoch:
        return SUPERSEDED
    _notify_of(job)
    return WriteResult.of(job, writes.apply(job, changes, attempt.history))


def renew_heartbeats(attempts: Collection[Attempt]) -> dict[tuple[str, str], WriteResult]:
    """Returns the states by job id and epoch. Superseded attempts are left out."""
    known = jobs().filter(
        pk__in={attempt.job_id for attempt in attempts},
        epoch__in={attempt.epoch for attempt in attempts},
    )
    now = database_now()
    is_asked = When(cancel_requested_at__isnull=False, then=Value(now))
    acknowledged_at = Coalesce(F("cancel_acknowledged_at"), Case(is_asked))
    with progress_transaction():
        # A row that another connection holds would delay the heartbeats of all.
        free = unlocked(known.running()).values("pk")
        known.filter(pk__in=free).update(heartbeat_at=now, cancel_acknowledged_at=acknowledged_at)
    return {
        (job.pk, job.epoch): WriteResult.of(job, ())
        for job in known.only("pk", "epoch", "status", "cancel_requested_at")
    }


def is_any_to_stop(attempts: Collection[Attempt]) -> bool:
    """Is one of them cancelled, over or superseded?"""
    job_ids = {attempt.job_id for attempt in attempts}
    going_on = (
        jobs()
        .running()
        .filter(
            pk__in=job_ids,
            epoch__in={attempt.epoch for attempt in attempts},
            cancel_requested_at__isnull=True,
        )
    )
    return going_on.count() < len(job_ids)


def write_milestone(job: Job, message: str, level: EventLevel = EventLevel.INFO) -> None:
    """Logs the start or the end of a job, even if its log is full."""
    write_milestones([job], message, level)


def write_milestones(
    logged: Sequence[Job], message: str, level: EventLevel = EventLevel.INFO
) -> None:
    """The same entry in the logs of several jobs, in two statements."""
    log_milestones(logged, message, level)
    jobs().filter(pk__in=[job.pk for job in logged]).update(event_count=F("event_count") + 1)
    for job in logged:
        job.event_count += 1


def log_milestones(
    logged: Sequence[Job], message: str, level: EventLevel = EventLevel.INFO
) -> None:
    """Only the entries: the caller counts them in the rows of the jobs."""
    entry = EventEntry(at=database_now(), level=level, message=message)
    insert(event_of(job, entry) for job in logged)


def locked_attempt(attempt: Attempt) -> Job:
    job = locked_job(attempt.job_id)
    if job is None or job.epoch != attempt.epoch:
        raise JobSuperseded(attempt.job_id)
    return job


def stages_of(job: Job) -> list[Stage]:
    return sorted(rows_of_jobs(Stage, [job.pk]), key=attrgetter("position"))


def write_locked(
    job: Job, changes: JobChanges, history: History, *, is_last: bool = False
) -> Sequence[Stage]:
    """Applies changes to a locked job. Returns its stages after them, in order.

    `is_last`: the attempt ends, so a sample is due.
    """
    writes = JobWrites([job])
    stages = writes.apply(job, changes, history, is_last=is_last)
    writes.save()
    _notify_of(job)
    return stages


def _notify_of(job: Job) -> None:
    if not job.is_finished:  # then only its log has changed
        notify_on_commit(job.pk)
