"""People start jobs again that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeAlias

from django.utils.translation import gettext_noop as _

from ingestion_progress.exceptions import (
    ErrorCode,
    InvalidTransition,
    JobNotFound,
    JobNotRepeatable,
    ProgressUnavailable,
)
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models import Job, clean_job_id
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import AttemptStatus, Liveness
from ingestion_progress.tracker.attempts import queue_attempts
from ingestion_progress.tracker.database import jobs, locked_jobs
from ingestion_progress.tracker.endings import NO_HEARTBEAT, record_endings
from ingestion_progress.tracker.sql import notify_on_commit, write_milestones
from ingestion_progress.tracker.transactions import in_transactions

Refusal: TypeAlias = InvalidTransition | JobNotFound | JobNotRepeatable


class RetryScope(StrEnum):
    """What a job that succeeded repeats. Any other job continues in both cases."""

    ALL = "all"
    """Everything, from the beginning."""
    FAILED = "failed"
    """Only the items that failed."""


def retry_job(job_id: str, *, only: RetryScope | str = RetryScope.ALL, by: str = "") -> Job:
    """Queues a new attempt of a job that has ended, or whose process died. `by` names who asked.

    Raises JobNotFound, JobNotRepeatable without a stored task, InvalidTransition if the job is
    queued or running or nothing of it failed, or ProgressUnavailable if its row is locked.
    """
    for refused in retry_jobs([clean_job_id(job_id)], only=only, by=by).values():
        raise refused
    return jobs().get(pk=job_id)


def retry_jobs(
    job_ids: Sequence[str], *, only: RetryScope | str = RetryScope.ALL, by: str = ""
) -> dict[str, Refusal | ProgressUnavailable]:
    """The same for many jobs, in few transactions. Returns, by id, why others are not retried."""
    scope = RetryScope(only)
    return in_transactions(job_ids, "retry", lambda chunk: _retry(chunk, scope, by))


def _retry(job_ids: Sequence[str], scope: RetryScope, by: str) -> dict[str, Refusal]:
    found = locked_jobs(job_ids)
    problems = {job_id: _problem(job_id, found.get(job_id), scope) for job_id in job_ids}
    again = [job for job_id, job in found.items() if problems[job_id] is None]
    if again:
        _queue(again, scope, by)
    return {job_id: problem for job_id, problem in problems.items() if problem is not None}


def _queue(again: Sequence[Job], scope: RetryScope, by: str) -> None:
    if lost := [job for job in again if not job.is_finished]:
        record_endings(lost, AttemptStatus.LOST, NO_HEARTBEAT)
    message = StoredSentence("Retry requested")
    if by:
        message = StoredSentence("Retry requested by %(by)s", by=by)
    write_milestones(again, message)
    from_start: list[Job] = []
    from_checkpoints: list[Job] = []
    for job in again:
        job.failed_attempts = 0
        is_complete = job.job_status.has_succeeded and scope is RetryScope.ALL
        (from_start if is_complete else from_checkpoints).append(job)
        notify_on_commit(job.pk)
    now = database_now()
    queue_attempts(from_start, due_at=now, by=by, keep_checkpoints=False)
    queue_attempts(from_checkpoints, due_at=now, by=by)


def _problem(job_id: str, job: Job | None, scope: RetryScope) -> Refusal | None:
    """Why the job cannot be retried."""
    if job is None:
        return JobNotFound(job_id)
    if not job.is_finished and job.liveness(database_now()) is not Liveness.LOST:
        problem = _("Job %(job)s is %(status)s and cannot be retried; only an ended job can.")
        return InvalidTransition.of_job(problem, job_id, job.status, ErrorCode.JOB_ACTIVE)
    if not job.task:
        return JobNotRepeatable(job_id)
    if scope is RetryScope.FAILED and job.job_status.has_succeeded and not job.failed_items:
        problem = _("Job %(job)s is %(status)s and cannot be retried: none of its items failed.")
        return InvalidTransition.of_job(problem, job_id, job.status, ErrorCode.NOTHING_FAILED)
    return None
