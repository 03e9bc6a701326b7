"""How an attempt ends: for good, or with another one that is due."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from operator import attrgetter

from ingestion_progress.conf import conf
from ingestion_progress.exceptions import InvalidTransition
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models import Job, JobAttempt, Worker
from ingestion_progress.models.attempts import stage_record
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.events import MAX_MESSAGE_LENGTH
from ingestion_progress.models.stages import Stage
from ingestion_progress.models.statuses import (
    AttemptStatus,
    EventLevel,
    JobStatus,
    WorkerStatus,
)
from ingestion_progress.signals import attempt_ended, job_ended
from ingestion_progress.tracker.attempts import queue_attempts
from ingestion_progress.tracker.changes import EventEntry, JobChanges
from ingestion_progress.tracker.database import (
    insert,
    jobs,
    progress_transaction,
    rows,
    rows_of_jobs,
)
from ingestion_progress.tracker.error_groups import error_group, write_errors
from ingestion_progress.tracker.former_jobs import record_times
from ingestion_progress.tracker.plan import Attempt, clean_text
from ingestion_progress.tracker.signal_sender import send_on_commit
from ingestion_progress.tracker.sql import (
    WriteResult,
    locked_attempt,
    notify_on_commit,
    stages_of,
    write_locked,
    write_milestone,
)
from ingestion_progress.tracker.writes import JobWrites

LEVELS_OF_ENDINGS = {
    JobStatus.SUCCEEDED: EventLevel.INFO,
    JobStatus.CANCELLED: EventLevel.WARNING,  # it was requested
    JobStatus.FAILED: EventLevel.ERROR,
    JobStatus.LOST: EventLevel.ERROR,
}
LINES_OF_ENDINGS = {
    AttemptStatus.SUCCEEDED: (StoredSentence("Succeeded"), StoredSentence("Succeeded: %(reason)s")),
    AttemptStatus.CANCELLED: (StoredSentence("Cancelled"), StoredSentence("Cancelled: %(reason)s")),
    AttemptStatus.FAILED: (StoredSentence("Failed"), StoredSentence("Failed: %(reason)s")),
    AttemptStatus.LOST: (StoredSentence("Lost"), StoredSentence("Lost: %(reason)s")),
    AttemptStatus.INTERRUPTED: (
        StoredSentence("Handed back"),
        StoredSentence("Handed back: %(reason)s"),
    ),
}
NO_HEARTBEAT = StoredSentence("Its worker process disappeared.")
ON_REQUEST = StoredSentence("Cancelled on request.")
FIRST_PAUSE_SECONDS = 5.0
LAST_PAUSE_SECONDS = 600.0


def finish_attempt(
    attempt: Attempt, changes: JobChanges, status: JobStatus, error: str = ""
) -> WriteResult:
    """Writes the last changes and ends the job.

    Raises InvalidTransition if the job has ended, JobSuperseded if a newer attempt exists.
    """
    with progress_transaction():
        job = locked_attempt(attempt)
        writes = JobWrites([job])
        writes.apply(job, changes, attempt.history, is_last=True)
        stages = _end([job], status, error, writes)[job.pk]
        if status.has_succeeded:
            record_times(job, stages)
        return WriteResult.of(job, stages)


def hand_back_attempt(
    attempt: Attempt, changes: JobChanges, ending: AttemptStatus, reason: str
) -> WriteResult:
    """Writes the last changes and queues the next attempt, or ends the job after MAX_ATTEMPTS.

    Raises InvalidTransition if the job has ended, JobSuperseded if a newer attempt exists.
    """
    with progress_transaction():
        job = locked_attempt(attempt)
        write_locked(job, changes, attempt.history, is_last=True)
        if job.is_finished:
            raise InvalidTransition(f"Job {job.pk} is {job.status} and cannot be handed back.")
        follow_up(job, ending, reason)
        return WriteResult.of(job, stages_of(job))


def follow_up(job: Job, ending: AttemptStatus, reason: str, *, can_run_again: bool = True) -> None:
    """Ends the attempt of a locked, running job: queues the next one, or ends the job.

    The job ends if it is to be cancelled, cannot run again, or was lost or failed MAX_ATTEMPTS
    times in a row. An interrupted attempt is no failure.
    """
    failures = job.failed_attempts + (ending is not AttemptStatus.INTERRUPTED)
    if job.cancel_requested_at is not None:
        end_locked_job(job, JobStatus.CANCELLED, ON_REQUEST)
    elif not can_run_again or failures >= conf.max_attempts:
        jobs().filter(pk=job.pk).update(failed_attempts=failures)
        if failures > 1:
            reason = StoredSentence(
                "%(reason)s The job was lost or failed %(number)s times in a row: no further "
                "attempt.",
                reason=reason,
                number=failures,
            )
        end_locked_job(job, JobStatus(ending.value), reason)
    else:
        record_endings([job], ending, reason)
        write_milestone(job, line_of_ending(ending, reason), EventLevel.WARNING)
        notify_on_commit(job.pk)
        job.failed_attempts = failures
        due_at = database_now() + timedelta(seconds=pause_seconds(failures))
        queue_attempts([job], due_at=due_at if job.task else None, reason=reason)


def line_of_ending(ending: JobStatus | AttemptStatus, reason: str = "") -> str:
    """The line of the log. The label is not used: stored texts are English in any language."""
    line, line_with_reason = LINES_OF_ENDINGS[AttemptStatus(ending.value)]
    return StoredSentence(line_with_reason, reason=reason) if reason else line


def pause_seconds(failures: int) -> float:
    """The pause before the next attempt after 1, 2, 3 … failures: 5, 20, 80 … seconds, ± 10 %."""
    if failures == 0:
        return 0.0
    pause = min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 4.0 ** (failures - 1))
    return pause * random.uniform(0.9, 1.1)  # noqa: S311


def end_locked_job(job: Job, status: JobStatus, error: str = "") -> None:
    """Ends a job that the caller has locked, with its open stages and its workers."""
    end_locked_jobs([job], status, error)


def end_locked_jobs(ended: Sequence[Job], status: JobStatus, error: str = "") -> None:
    """The same for several jobs, in as many statements as for one."""
    _end(ended, status, error, JobWrites(ended))


def _end(
    ended: Sequence[Job], status: JobStatus, error: str, writes: JobWrites
) -> dict[str, Sequence[Stage]]:
    """Saves the writes with the ends of their jobs. Returns the stages by job."""
    if refused := [job for job in ended if job.job_status not in status.predecessors]:
        first = refused[0]
        raise InvalidTransition(f"Job {first.pk} is {first.status} and cannot become {status}.")
    # This host's clock may be behind that of the host that wrote the start.
    now = max(database_now(), *(job.started_at or job.created_at for job in ended))
    message = line_of_ending(status, error)
    entry = EventEntry(at=now, level=LEVELS_OF_ENDINGS[status], message=message)
    stages = {job.pk: writes.end(job, status, error, entry) for job in ended}
    writes.save()
    _free_workers(ended)
    record_endings(ended, AttemptStatus(status.value), error, stages)
    for job in ended:
        notify_on_commit(job.pk, is_end=True)
        send_on_commit(job_ended, job)
    return stages


def record_endings(
    ended: Sequence[Job],
    status: AttemptStatus,
    error: str = "",
    stages: Mapping[str, Sequence[Stage]] | None = None,
) -> None:
    """Stores how the current attempt of each job ended, and what its stages did.

    The process of a lost attempt cannot group its error. `stages`: by job, if they are known.
    """
    if status is AttemptStatus.LOST:
        for job in ended:
            write_errors(job, [error_group(error, at=database_now(), kind=status.value)])
    known = _stages_of_jobs(ended) if stages is None else stages
    insert(
        (_ended_attempt(job, status, error, known[job.pk]) for job in ended),
        unless=["job", "number"],
    )
    for job in ended:
        error = clean_text(error, MAX_MESSAGE_LENGTH)
        send_on_commit(attempt_ended, job, attempt=job.attempt, status=status, error=error)


def _stages_of_jobs(ended: Sequence[Job]) -> Mapping[str, Sequence[Stage]]:
    found: dict[str, list[Stage]] = {job.pk: [] for job in ended}
    for stage in rows_of_jobs(Stage, list(found)):
        found[stage.job_id].append(stage)
    return found


def _ended_attempt(
    job: Job, status: AttemptStatus, error: str, stages: Sequence[Stage]
) -> JobAttempt:
    now = job.finished_at or max(database_now(), job.started_at or job.created_at)
    in_order = sorted(stages, key=attrgetter("position"))
    return JobAttempt(
        job=job,
        number=job.attempt,
        epoch=job.epoch,
        status=status,
        started_at=job.started_at,
        finished_at=now,
        failed_items=job.failed_items,
        started_by=job.started_by,
        cancelled_by=job.cancel_requested_by,
        error=clean_text(error, MAX_MESSAGE_LENGTH),
        stages=[stage_record(job, stage, now) for stage in in_order],
    )


def _free_workers(ended: Sequence[Job]) -> None:
    workers = rows(Worker).filter(job__in=ended)
    workers.update(status=WorkerStatus.IDLE, current_chunk="", progress_percent=0)
