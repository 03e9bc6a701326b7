"""People ask jobs to stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from django.db.models import F
from django.utils.translation import gettext_noop as _

from ingestion_progress.exceptions import (
    ErrorCode,
    InvalidTransition,
    JobNotFound,
    ProgressUnavailable,
)
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models import Job, clean_job_id
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.statuses import EventLevel, JobStatus, Liveness
from ingestion_progress.tracker.database import jobs, locked_jobs
from ingestion_progress.tracker.endings import ON_REQUEST, end_locked_jobs
from ingestion_progress.tracker.plan import clean_text
from ingestion_progress.tracker.sql import notify_on_commit, write_milestones
from ingestion_progress.tracker.transactions import in_transactions

Refusal: TypeAlias = InvalidTransition | JobNotFound


def request_cancellation(job_id: str, *, by: str = "") -> Job:
    """Cancels a queued or lost job at once; asks a running job to stop. `by` names who asks.

    Raises JobNotFound, InvalidTransition if the job has ended, or ProgressUnavailable if another
    connection holds its row.
    """
    for refused in request_cancellations([clean_job_id(job_id)], by=by).values():
        raise refused
    return jobs().get(pk=job_id)


def request_cancellations(
    job_ids: Sequence[str], *, by: str = ""
) -> dict[str, Refusal | ProgressUnavailable]:
    """The same for many jobs, in few transactions. Returns, by id, why others cannot be."""
    return in_transactions(job_ids, "cancellation", lambda chunk: _cancel(chunk, by))


def _cancel(job_ids: Sequence[str], by: str) -> dict[str, Refusal]:
    found = locked_jobs(job_ids)
    now = database_now()
    at_once, asked = [], []
    refused: dict[str, Refusal] = {}
    for job_id in job_ids:
        job = found.get(job_id)
        if job is None:
            refused[job_id] = JobNotFound(job_id)
        elif job.is_finished:
            problem, ended = (
                _("Job %(job)s is %(status)s and cannot be cancelled."),
                ErrorCode.JOB_FINISHED,
            )
            refused[job_id] = InvalidTransition.of_job(problem, job_id, job.status, ended)
        elif job.job_status is JobStatus.QUEUED or job.liveness(now) is Liveness.LOST:
            at_once.append(job)
        elif job.cancel_requested_at is None:
            asked.append(job)
    if at_once or asked:
        _log([*at_once, *asked], by)
    if at_once:
        _end(at_once, by)
    if asked:
        _ask(asked, by)
    return refused


def _log(cancelled: Sequence[Job], by: str) -> None:
    message = StoredSentence("Cancellation requested")
    if by:
        message = StoredSentence("Cancellation requested by %(by)s", by=by)
    write_milestones(cancelled, message, EventLevel.WARNING)


def _end(waiting: Sequence[Job], by: str) -> None:
    for job in waiting:
        job.cancel_requested_by = clean_text(by, MAX_NAME_LENGTH)  # for the row of the attempt
    end_locked_jobs(waiting, JobStatus.CANCELLED, ON_REQUEST)
    at = F("finished_at")
    _rows(waiting).update(cancel_requested_at=at, cancel_acknowledged_at=at, **_requester(by))


def _ask(running: Sequence[Job], by: str) -> None:
    revision = F("revision") + 1
    _rows(running).update(cancel_requested_at=database_now(), revision=revision, **_requester(by))
    for job in running:
        notify_on_commit(job.pk)


def _rows(cancelled: Sequence[Job]) -> JobQuerySet:
    return jobs().filter(pk__in=[job.pk for job in cancelled])


def _requester(by: str) -> dict[str, str]:
    return {"cancel_requested_by": clean_text(by, MAX_NAME_LENGTH)}
