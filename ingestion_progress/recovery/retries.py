"""A person starts a job again that has ended."""

from __future__ import annotations

from enum import StrEnum

from django.utils import timezone

from ingestion_progress.exceptions import (
    ErrorCode,
    InvalidTransition,
    JobNotFound,
    JobNotRepeatable,
)
from ingestion_progress.models import Job, clean_job_id
from ingestion_progress.models.statuses import AttemptStatus, Liveness
from ingestion_progress.tracker.attempts import queue_attempt
from ingestion_progress.tracker.database import jobs, locked_job, progress_transaction
from ingestion_progress.tracker.endings import NO_HEARTBEAT, record_endings
from ingestion_progress.tracker.sql import notify_on_commit, write_milestone


class RetryScope(StrEnum):
    """What the next attempt does of a job that succeeded. Any other job continues in both cases."""

    ALL = "all"
    """Everything, from the beginning."""
    FAILED = "failed"
    """Only the items that failed."""


def retry_job(job_id: str, *, only: RetryScope | str = RetryScope.ALL, by: str = "") -> Job:
    """Queues a new attempt of a job that has ended, or whose process died. `by` names who asked.

    Raises JobNotFound, JobNotRepeatable without a stored task, or InvalidTransition if the job is
    queued or running, or if nothing of it failed.
    """
    scope = RetryScope(only)
    with progress_transaction():
        job = locked_job(pk=clean_job_id(job_id))
        if job is None:
            raise JobNotFound(job_id)
        _check(job, scope)
        if not job.is_finished:
            record_endings([job], AttemptStatus.LOST, NO_HEARTBEAT)
        write_milestone(job, f"Retry requested by {by}" if by else "Retry requested")
        job.failed_attempts = 0
        is_complete = job.job_status.has_succeeded and scope is RetryScope.ALL
        queue_attempt(job, due_at=timezone.now(), keep_checkpoints=not is_complete)
        notify_on_commit(job.pk)
    return jobs().get(pk=job.pk)


def _check(job: Job, scope: RetryScope) -> None:
    is_lost = job.liveness(timezone.now()) is Liveness.LOST
    if not job.is_finished and not is_lost:
        problem, code = "be retried; only an ended job can", ErrorCode.JOB_ACTIVE
        raise InvalidTransition(f"Job {job.pk}", job.status, problem, code)
    if not job.task:
        raise JobNotRepeatable(job.pk)
    if scope is RetryScope.FAILED and job.job_status.has_succeeded and not job.failed_items:
        problem, code = "be retried: none of its items failed", ErrorCode.NOTHING_FAILED
        raise InvalidTransition(f"Job {job.pk}", job.status, problem, code)
