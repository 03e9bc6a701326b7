"""People mark running jobs as lost: those whose process they know to be dead."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

from django.utils.translation import gettext_noop as _

from ingestion_progress.exceptions import (
    ErrorCode,
    InvalidTransition,
    JobNotFound,
    ProgressUnavailable,
)
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import JobStatus, Liveness
from ingestion_progress.recovery.rescue import end_lost_attempt
from ingestion_progress.tracker.database import locked_jobs
from ingestion_progress.tracker.transactions import in_transactions

Refusal: TypeAlias = InvalidTransition | JobNotFound


def has_sign_of_life(job: Job) -> bool:
    """Does the job run, with a recent heartbeat or change?"""
    return job.liveness(database_now()) in {Liveness.WORKING, Liveness.STALLED}


def mark_lost(
    job_ids: Sequence[str], *, by: str = "", even_if_alive: bool = False
) -> dict[str, Refusal | ProgressUnavailable]:
    """Ends the attempts of running jobs as a rescue pass does: a job with a task is queued again,
    another one is lost. `by` names who asks.

    Returns, by id, why others cannot be marked: they do not run, or, unless `even_if_alive`, have a
    recent sign of life. A process that is alive after all cannot write to the job any more.
    """
    mark = partial(_mark, by=by, even_if_alive=even_if_alive)
    return in_transactions(job_ids, "loss", mark)


def _mark(job_ids: Sequence[str], *, by: str, even_if_alive: bool) -> dict[str, Refusal]:
    found = locked_jobs(job_ids)
    refused: dict[str, Refusal] = {}
    for job_id in job_ids:
        job = found.get(job_id)
        if job is None:
            refused[job_id] = JobNotFound(job_id)
        elif problem := _problem(job, even_if_alive=even_if_alive):
            refused[job_id] = problem
        else:
            end_lost_attempt(job, _reason(by))
    return refused


def _reason(by: str) -> str:
    if by:
        return StoredSentence("Marked as lost by %(by)s.", by=by)
    return StoredSentence("Marked as lost.")


def _problem(job: Job, *, even_if_alive: bool) -> InvalidTransition | None:
    """Why the job cannot be marked."""
    if job.job_status is not JobStatus.RUNNING:
        problem = _(
            "Job %(job)s is %(status)s and cannot be marked as lost; only a running job can."
        )
    elif not even_if_alive and has_sign_of_life(job):
        problem = _(
            "Job %(job)s is %(status)s and cannot be marked as lost: its process has just sent a "
            "sign of life."
        )
    else:
        return None
    code = ErrorCode.JOB_FINISHED if job.is_finished else ErrorCode.JOB_ACTIVE
    return InvalidTransition.of_job(problem, job.pk, job.status, code)
