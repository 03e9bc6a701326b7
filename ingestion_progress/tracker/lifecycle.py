"""Queues, starts, fails and deletes jobs: plain ORM calls, each in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError
from django.utils.translation import gettext_noop as _

from ingestion_progress.conf import conf
from ingestion_progress.exceptions import (
    BatchFull,
    ErrorCode,
    InvalidTransition,
    JobCancelled,
    JobExists,
    JobNotFound,
)
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models import Checkpoint, Job, Stage, clean_job_id
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import AttemptStatus, JobStatus, Liveness
from ingestion_progress.signals import job_started
from ingestion_progress.tracker.attempts import (
    begin_attempts,
    this_process,
    write_stages,
    write_workers,
)
from ingestion_progress.tracker.batches import ensure_batch, wait_if_full
from ingestion_progress.tracker.database import (
    busy_as_unavailable,
    jobs,
    locked_job,
    progress_alias,
    progress_transaction,
    rows_of,
    save_job,
)
from ingestion_progress.tracker.endings import NO_HEARTBEAT, end_locked_job, record_endings
from ingestion_progress.tracker.error_groups import error_group, write_errors
from ingestion_progress.tracker.former_jobs import begin_forecast, history_of
from ingestion_progress.tracker.plan import Attempt, JobPlan, Stages, stage_weights
from ingestion_progress.tracker.signal_sender import send_on_commit
from ingestion_progress.tracker.sql import log_milestones, notify_on_commit, stages_of
from ingestion_progress.wire.forecast import History


def queue_job(
    document_name: str,
    *,
    job_id: str | None = None,
    document_id: str | None = None,
    batch: str | None = None,
    batch_name: str = "",
    stages: Stages | None = None,
    workers: int = 0,
    task: object = "",
    document_version: str = "",
    owner: object = None,
    metadata: Mapping[str, Any] | None = None,
    about: object = None,
    priority: int = 0,
) -> Job:
    """Creates a job that waits for `track(job_id=…)`.

    - `task`: what runs it, as an object or a dotted path. It takes the job's id, and is called
      again for the next attempt.
    - `document_version`: a hash of the content, say; checkpoints of another version do not count.
    - `batch_name`: the name of the batch, if this is its first job.
    - `owner`: a user or a user's primary key, who also counts as the one who started the job.
    - `metadata`: the project's own data, a JSON object of at most 4 KB.
    - `about`: a saved instance of any model.
    - `priority`: -100 to 100; of a Django Task that is queued for it, now or for a next attempt.

    Raises JobExists, InvalidJobId, InvalidBatch or InvalidMetadata.
    """
    plan = JobPlan(
        document_name,
        job_id=job_id,
        document_id=document_id,
        batch=batch,
        batch_name=batch_name,
        stages=stages,
        workers=workers,
        task=task,
        document_version=document_version,
        owner=owner,
        metadata=metadata,
        about=about,
        priority=priority,
    )
    with progress_transaction():
        notify_on_commit(plan.job_id)
        return _create(plan, JobStatus.QUEUED)


def start_attempt(plan: JobPlan, *, restart: bool = False) -> Attempt:
    """Runs a new job, a queued job, a lost one that has attempts left or, with `restart`, any job.

    Raises JobExists if the job runs or has ended, JobCancelled if it was cancelled before it
    could start, BatchFull if it has to wait for other jobs of its batch.
    """
    with progress_transaction():
        job = locked_job(plan.job_id)
        is_queued = job is not None and job.job_status is JobStatus.QUEUED
        if job is None or not is_queued or not wait_if_full(job, plan):
            return _start(job, plan, restart=restart)
    raise BatchFull(job.pk, job.batch)  # after the COMMIT


def _start(job: Job | None, plan: JobPlan, *, restart: bool) -> Attempt:
    if job is None:
        job = _create(plan, JobStatus.RUNNING)
    elif job.job_status is JobStatus.QUEUED:
        _run(job, plan)
    elif restart:
        _begin_again(job, plan, keep_checkpoints=not job.job_status.has_succeeded)
    elif (failures := _failures_of_lost(job)) and failures < conf.max_attempts:
        _begin_again(job, plan, failed_attempts=failures)
    elif job.job_status is JobStatus.CANCELLED:
        raise JobCancelled(job.pk)
    else:
        raise JobExists(job.pk, job.status)
    stages = stages_of(job)
    history = begin_forecast(job, stages)
    message = StoredSentence("Started")
    if job.attempt > 1:
        message = StoredSentence("Started again, attempt %(number)s", number=job.attempt)
    log_milestones([job], message)
    job.event_count += 1
    save_job(job)
    notify_on_commit(job.pk)
    send_on_commit(job_started, job)
    return _attempt(job, stages, history)


def join_attempt(job_id: str, *, even_if_ended: bool = False) -> Attempt:
    """The running attempt. Raises JobNotFound, or InvalidTransition if none runs."""
    job = _found(jobs().filter(pk=job_id).first(), job_id)
    if job.job_status is not JobStatus.RUNNING and not even_if_ended:
        raise InvalidTransition(
            f"Job {job_id} is {job.status} and cannot be joined; only a running job can."
        )
    return attempt_of(job)


def attempt_of(job: Job) -> Attempt:
    return _attempt(job, stages_of(job), history_of(job))


def _attempt(job: Job, stages: Sequence[Stage], history: History) -> Attempt:
    return Attempt(
        job_id=job.pk,
        epoch=job.epoch,
        document_id=job.document_id,
        stage_names=tuple(stage.name for stage in stages),
        task=job.task,
        history=history,
    )


def delete_job(job_id: str, *, even_if_running: bool = False) -> None:
    """Deletes a job with all its rows. Raises JobNotFound, or InvalidTransition while it runs."""
    with busy_as_unavailable(job_id, "deletion"), progress_transaction():
        job = _locked(job_id)
        liveness = job.liveness(database_now())
        is_alive = liveness is not None and liveness.is_alive
        if is_alive and not even_if_running:
            problem = _("Job %(job)s is %(status)s and cannot be deleted; cancel it first.")
            raise InvalidTransition.of_job(problem, job_id, job.status, ErrorCode.JOB_RUNNING)
        job.delete(using=progress_alias())
        notify_on_commit(job_id)


def fail_job(job_id: str, reason: str) -> None:
    """Ends a job that no tracker runs. Raises JobNotFound, InvalidTransition."""
    with progress_transaction():
        job = _locked(job_id)
        end_locked_job(job, JobStatus.FAILED, reason)
        write_errors(job, [error_group(reason, at=database_now())])


def _locked(job_id: str) -> Job:
    return _found(locked_job(clean_job_id(job_id)), job_id)


def _found(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise JobNotFound(job_id)
    return job


def _create(plan: JobPlan, status: JobStatus) -> Job:
    now = database_now()
    is_running = status is JobStatus.RUNNING
    ensure_batch(plan)
    job = Job(
        id=plan.job_id,
        document_id=plan.document_id or plan.job_id,
        document_name=plan.document_name,
        batch=plan.batch,
        owner_id=plan.owner.id,
        owner_name=plan.owner.name,
        started_by=plan.owner.name,
        metadata=plan.metadata or {},
        about_model=plan.about.model,
        about_id=plan.about.id,
        task=plan.task,
        priority=plan.priority,
        document_version=plan.document_version,
        status=status,
        total_chunks=plan.total_chunks,
        total_images=plan.total_images,
        pool_size=plan.workers,
        created_at=now,
        updated_at=now,
        started_at=now if is_running else None,
        heartbeat_at=now if is_running else None,
        writer=this_process() if is_running else "",
    )
    try:
        with progress_transaction():
            job.save(using=progress_alias(), force_insert=True)
    except IntegrityError:
        existing = jobs().filter(pk=plan.job_id).first()
        if existing is None:
            raise
        raise JobExists(plan.job_id, existing.status) from None
    write_stages(job, plan.weights or stage_weights(None))
    write_workers([job])
    return job


def _run(job: Job, plan: JobPlan) -> None:
    """Starts a locked job, which the caller saves. What the plan does not set stays unchanged."""
    former_size = job.pool_size
    now = max(database_now(), job.queued_at or job.created_at)
    job.document_id = plan.document_id or job.document_id
    job.document_name = plan.document_name or job.document_name
    job.pool_size = plan.workers or job.pool_size
    job.total_chunks = plan.total_chunks or job.total_chunks
    job.total_images = plan.total_images or job.total_images
    job.task = plan.task or job.task
    if plan.owner.id is not None:
        job.owner_id, job.owner_name = plan.owner.id, plan.owner.name
    if plan.about.model:
        job.about_model, job.about_id = plan.about.model, plan.about.id
    if plan.metadata is not None:
        job.metadata = plan.metadata
    job.status = JobStatus.RUNNING
    job.started_at = job.heartbeat_at = job.updated_at = now
    job.writer = this_process()
    job.retry_at = None
    job.waits_for_batch = False
    job.error = ""
    job.revision += 1
    if plan.document_version and plan.document_version != job.document_version:
        job.document_version = plan.document_version
        rows_of(Checkpoint, job).delete()
        rows_of(Stage, job).update(processed=0, total=0, inherited_total=0)
    if plan.weights is not None:
        write_stages(job, plan.weights)
    if job.pool_size != former_size:
        write_workers([job])


def _failures_of_lost(job: Job) -> int:
    """How often in a row it has failed, if its process has died: a task may be delivered again."""
    if job.job_status is JobStatus.LOST:
        return max(1, job.failed_attempts)
    return job.failed_attempts + 1 if job.liveness(database_now()) is Liveness.LOST else 0


def _begin_again(
    job: Job, plan: JobPlan, *, keep_checkpoints: bool = True, failed_attempts: int = 0
) -> None:
    """Starts a new attempt, with a new epoch and new counts. The job keeps its log."""
    if not job.is_finished:
        is_lost = job.liveness(database_now()) is Liveness.LOST
        if is_lost:
            record_endings([job], AttemptStatus.LOST, NO_HEARTBEAT)
        else:
            record_endings([job], AttemptStatus.INTERRUPTED)
    begin_attempts([job], keep_checkpoints=keep_checkpoints)
    job.failed_attempts = failed_attempts
    _run(job, plan)
