"""Starts, cancels, fails and deletes jobs: plain ORM calls, each in one transaction."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import IntegrityError
from django.utils import timezone

from ingestion_progress.exceptions import InvalidTransition, JobCancelled, JobExists, JobNotFound
from ingestion_progress.models import Job, JobEvent, Stage, Worker, clean_job_id, new_epoch
from ingestion_progress.models.statuses import EventLevel, JobStatus, Liveness
from ingestion_progress.tracker.database import (
    jobs,
    locked_job,
    progress_alias,
    progress_transaction,
    rows,
    rows_of,
)
from ingestion_progress.tracker.plan import Attempt, JobPlan, Stages, stage_weights
from ingestion_progress.tracker.sql import (
    end_locked_job,
    free_workers,
    notify_on_commit,
    write_milestone,
)

# What a new attempt sets back to its default.
RESET_COLUMNS = (
    *("entities_total", "relations_total", "neo4j_writes", "qdrant_writes", "counters"),
    *("total_chunks", "total_images", "queue_depth", "reached_percent", "error_count"),
    *("finished_at", "cancel_requested_at", "error"),
)


def queue_job(
    document_name: str,
    *,
    job_id: str | None = None,
    document_id: str | None = None,
    batch: str | None = None,
    stages: Stages | None = None,
    workers: int = 0,
) -> Job:
    """Creates a job that waits for `track(job_id=…)`.

    Raises JobExists, InvalidJobId or InvalidBatch.
    """
    plan = JobPlan(
        document_name,
        job_id=job_id,
        document_id=document_id,
        batch=batch,
        stages=stages,
        workers=workers,
    )
    with progress_transaction():
        notify_on_commit(plan.job_id)
        return _create(plan, JobStatus.QUEUED)


def start_attempt(plan: JobPlan, *, restart: bool = False) -> Attempt:
    """Runs a new job, a queued job or, with `restart`, any job again.

    Raises JobExists if the job runs or has ended, JobCancelled if it was cancelled before it
    could start.
    """
    with progress_transaction():
        job = locked_job(pk=plan.job_id)
        if job is None:
            job = _create(plan, JobStatus.RUNNING)
        elif job.job_status is JobStatus.QUEUED:
            _run(job, plan)
        elif restart:
            _begin_again(job, plan)
        elif job.job_status is JobStatus.CANCELLED:
            raise JobCancelled(job.pk)
        else:
            raise JobExists(job.pk, job.status)
        message = "Started" if job.attempt == 1 else f"Started again, attempt {job.attempt}"
        write_milestone(job, message)
        notify_on_commit(job.pk)
        return attempt_of(job)


def join_attempt(job_id: str, *, even_if_ended: bool = False) -> Attempt:
    """The running attempt. Raises JobNotFound, or InvalidTransition if none runs."""
    job = _found(jobs().filter(pk=job_id).first(), job_id)
    if job.job_status is not JobStatus.RUNNING and not even_if_ended:
        raise InvalidTransition(f"Job {job_id}", job.status, "be joined; only a running job can")
    return attempt_of(job)


def attempt_of(job: Job) -> Attempt:
    stages = rows_of(Stage, job).order_by("position")
    return Attempt(
        job_id=job.pk,
        epoch=job.epoch,
        document_id=job.document_id,
        stage_names=tuple(stages.values_list("name", flat=True)),
    )


def request_cancellation(job_id: str) -> Job:
    """Cancels a queued or lost job at once; asks a running job to stop.

    Raises JobNotFound, or InvalidTransition if the job has ended.
    """
    with progress_transaction():
        job = _locked(job_id)
        now = timezone.now()
        if job.is_finished:
            raise InvalidTransition(f"Job {job_id}", job.status, "be cancelled")
        if job.job_status is JobStatus.QUEUED or job.liveness(now) is Liveness.LOST:
            end_locked_job(job, JobStatus.CANCELLED, "Cancelled on request.")
        elif job.cancel_requested_at is None:
            write_milestone(job, "Cancellation requested", EventLevel.WARNING)
            jobs().filter(pk=job_id).update(cancel_requested_at=now, revision=job.revision + 1)
            notify_on_commit(job_id)
    return jobs().get(pk=job_id)


def delete_job(job_id: str, *, even_if_running: bool = False) -> None:
    """Deletes a job with all its rows. Raises JobNotFound, or InvalidTransition while it runs."""
    with progress_transaction():
        job = _locked(job_id)
        is_alive = job.liveness(timezone.now()) in {Liveness.WORKING, Liveness.STALLED}
        if is_alive and not even_if_running:
            raise InvalidTransition(f"Job {job_id}", job.status, "be deleted; cancel it first")
        job.delete(using=progress_alias())
        notify_on_commit(job_id)


def fail_job(job_id: str, reason: str) -> None:
    """Ends a job that no tracker runs. Raises JobNotFound, InvalidTransition."""
    with progress_transaction():
        end_locked_job(_locked(job_id), JobStatus.FAILED, reason)


def record_lost_jobs() -> int:
    """Ends running jobs without a heartbeat for too long as lost. Returns how many."""
    lost = 0
    for job_id in jobs().silent().values_list("pk", flat=True):
        with progress_transaction():
            # It may have sent a heartbeat or ended since the query.
            job = jobs().silent().select_for_update().filter(pk=job_id).first()
            if job is not None:
                end_locked_job(job, JobStatus.LOST, "Its worker gave no sign of life.")
                lost += 1
    return lost


def _locked(job_id: str) -> Job:
    return _found(locked_job(pk=clean_job_id(job_id)), job_id)


def _found(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise JobNotFound(job_id)
    return job


def _create(plan: JobPlan, status: JobStatus) -> Job:
    now = timezone.now()
    is_running = status is JobStatus.RUNNING
    job = Job(
        id=plan.job_id,
        document_id=plan.document_id or plan.job_id,
        document_name=plan.document_name,
        batch=plan.batch,
        status=status,
        total_chunks=plan.total_chunks,
        total_images=plan.total_images,
        pool_size=plan.workers,
        created_at=now,
        updated_at=now,
        started_at=now if is_running else None,
        heartbeat_at=now if is_running else None,
    )
    try:
        with progress_transaction():
            job.save(using=progress_alias(), force_insert=True)
    except IntegrityError:
        existing = jobs().filter(pk=plan.job_id).first()
        raise JobExists(plan.job_id, existing.status if existing else "taken") from None
    _write_stages(job, plan.weights or stage_weights(None))
    _write_workers(job)
    return job


def _run(job: Job, plan: JobPlan) -> None:
    """Starts a locked job. Values that the plan does not set stay unchanged."""
    now = max(timezone.now(), job.created_at)
    job.document_id = plan.document_id or job.document_id
    job.document_name = plan.document_name or job.document_name
    job.pool_size = plan.workers or job.pool_size
    job.total_chunks = plan.total_chunks or job.total_chunks
    job.total_images = plan.total_images or job.total_images
    job.status = JobStatus.RUNNING
    job.started_at = job.heartbeat_at = job.updated_at = now
    job.revision += 1
    job.save(using=progress_alias())
    if plan.weights is not None:
        _write_stages(job, plan.weights)
    if plan.weights is not None or plan.workers:
        _write_workers(job)


def _begin_again(job: Job, plan: JobPlan) -> None:
    """Starts a new attempt, with a new epoch and new counts. The job keeps its log."""
    new = Job()
    for name in RESET_COLUMNS:
        setattr(job, name, getattr(new, name))
    job.attempt += 1
    job.epoch = new_epoch()
    job.event_count = rows_of(JobEvent, job).count()
    free_workers(job)  # the former attempt may still be running
    _run(job, plan)
    if plan.weights is None:
        stages = rows_of(Stage, job).order_by("position")
        _write_stages(job, dict(stages.values_list("name", "weight")))


def _write_stages(job: Job, weights: Mapping[str, float]) -> None:
    """Replaces the stages of the job."""
    rows_of(Stage, job).delete()
    rows(Stage).bulk_create(
        Stage(job=job, name=name, position=position, weight=weight)
        for position, (name, weight) in enumerate(weights.items())
    )


def _write_workers(job: Job) -> None:
    """Replaces the pool of the job."""
    rows_of(Worker, job).delete()
    rows(Worker).bulk_create(
        Worker(job=job, number=number) for number in range(1, job.pool_size + 1)
    )
