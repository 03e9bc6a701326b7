"""How jobs begin and end outside of a running tracker. Plain ORM calls, each one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from ingestion_progress.exceptions import (
    InvalidTransition,
    JobCancelled,
    JobExists,
    JobNotFound,
)
from ingestion_progress.models import Job, JobEvent, Stage, Worker, clean_job_id, new_epoch
from ingestion_progress.models.statuses import EventLevel, JobStatus, Liveness
from ingestion_progress.tracker.buffer import Attempt
from ingestion_progress.tracker.plan import JobPlan, Stages
from ingestion_progress.tracker.sql import (
    announce,
    end_locked_job,
    free_workers,
    progress_alias,
    write_milestone,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# What a new attempt starts with; whatever is not named here stays.
FRESH: dict[str, Any] = {
    "entities_total": 0,
    "relations_total": 0,
    "neo4j_writes": 0,
    "qdrant_writes": 0,
    "queue_depth": 0,
    "reached_percent": 0.0,
    "event_count": 0,
    "error_count": 0,
    "finished_at": None,
    "cancel_requested_at": None,
    "error": "",
}


def queue_job(
    document_name: str,
    *,
    job_id: str | None = None,
    document_id: str | None = None,
    batch: str | None = None,
    stages: Stages | None = None,
    workers: int = 0,
) -> Job:
    """A job that waits for `track(job_id=...)`. Raises JobExists, InvalidJobId, InvalidBatch."""
    plan = JobPlan.of(
        document_name,
        job_id=job_id,
        document_id=document_id,
        batch=batch,
        stages=stages,
        workers=workers,
    )
    with transaction.atomic(using=progress_alias()):
        announce(plan.job_id)
        return _create(plan, JobStatus.QUEUED)


def start_attempt(plan: JobPlan, *, restart: bool = False) -> Attempt:
    """Runs a new job, a queued one or, with `restart`, any job afresh.

    Raises JobExists where the job runs or has ended, JobCancelled where it was cancelled
    before it could start.
    """
    using = progress_alias()
    with transaction.atomic(using=using):
        job = Job.objects.using(using).select_for_update().filter(pk=plan.job_id).first()
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
        announce(job.pk)
        return attempt_of(job)


def join_attempt(job_id: str, *, even_if_ended: bool = False) -> Attempt:
    """The attempt that runs now. Raises JobNotFound, or InvalidTransition if none does."""
    job = _found(Job.objects.using(progress_alias()).filter(pk=job_id).first(), job_id)
    if job.job_status is not JobStatus.RUNNING and not even_if_ended:
        raise InvalidTransition(f"Job {job_id}", job.status, "be joined; only a running job can")
    return attempt_of(job)


def attempt_of(job: Job) -> Attempt:
    stages = Stage.objects.using(progress_alias()).filter(job=job).order_by("position")
    return Attempt(
        job_id=job.pk,
        epoch=job.epoch,
        document_id=job.document_id,
        stage_names=tuple(stages.values_list("name", flat=True)),
    )


def request_cancellation(job_id: str) -> Job:
    """Cancels what waits or has no sign of life; asks what runs to stop by itself.

    Raises JobNotFound, or InvalidTransition where the job has ended.
    """
    using = progress_alias()
    with transaction.atomic(using=using):
        job = _locked(job_id)
        now = timezone.now()
        if job.is_finished:
            raise InvalidTransition(f"Job {job_id}", job.status, "be cancelled")
        if job.job_status is JobStatus.QUEUED or job.liveness(now) is Liveness.LOST:
            end_locked_job(job, JobStatus.CANCELLED, "Cancelled on request.")
        elif job.cancel_requested_at is None:
            write_milestone(job, "Cancellation requested", EventLevel.WARNING)
            Job.objects.using(using).filter(pk=job_id).update(
                cancel_requested_at=now, revision=job.revision + 1
            )
            announce(job_id)
    return Job.objects.using(using).get(pk=job_id)


def delete_job(job_id: str, *, even_if_running: bool = False) -> None:
    """Removes a job with all its rows.

    Raises JobNotFound, or InvalidTransition while it runs: a writer would go on for nothing.
    """
    with transaction.atomic(using=progress_alias()):
        job = _locked(job_id)
        is_alive = job.liveness(timezone.now()) in {Liveness.WORKING, Liveness.STALLED}
        if is_alive and not even_if_running:
            raise InvalidTransition(f"Job {job_id}", job.status, "be deleted; cancel it first")
        job.delete(using=progress_alias())
        announce(job_id)


def fail_job(job_id: str, reason: str) -> None:
    """Ends a job that no tracker runs. Raises JobNotFound, InvalidTransition."""
    with transaction.atomic(using=progress_alias()):
        end_locked_job(_locked(job_id), JobStatus.FAILED, reason)


def lose_silent_jobs() -> int:
    """Ends running jobs whose writers have shown no sign of life for too long; how many."""
    lost = 0
    for job_id in Job.objects.using(progress_alias()).silent().values_list("pk", flat=True):
        with transaction.atomic(using=progress_alias()):
            # It may have come back, or ended, since the query.
            job = _silent_and_locked(job_id)
            if job is not None:
                end_locked_job(job, JobStatus.LOST, "Its worker gave no sign of life.")
                lost += 1
    return lost


def _silent_and_locked(job_id: str) -> Job | None:
    return (
        Job.objects.using(progress_alias()).silent().select_for_update().filter(pk=job_id).first()
    )


def _locked(job_id: str) -> Job:
    jobs = Job.objects.using(progress_alias()).select_for_update()
    return _found(jobs.filter(pk=clean_job_id(job_id)).first(), job_id)


def _found(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise JobNotFound(job_id)
    return job


def _create(plan: JobPlan, status: JobStatus) -> Job:
    using = progress_alias()
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
        with transaction.atomic(using=using):
            job.save(using=using, force_insert=True)
    except IntegrityError:
        existing = Job.objects.using(using).filter(pk=plan.job_id).first()
        raise JobExists(plan.job_id, existing.status if existing else "taken") from None
    _write_plan(job, plan)
    return job


def _run(job: Job, plan: JobPlan) -> None:
    """Queued to running; the row is locked. What the plan leaves open stays as it was queued."""
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
    if plan.weights is not None or plan.workers:
        _write_plan(job, plan, keep_stages=plan.weights is None)


def _begin_again(job: Job, plan: JobPlan) -> None:
    """A new attempt, with an epoch and counts of its own; the log of the old one goes on."""
    for name, value in FRESH.items():
        setattr(job, name, value)
    job.counters = {}
    job.total_chunks = job.total_images = 0
    job.attempt += 1
    job.epoch = new_epoch()
    job.event_count = JobEvent.objects.using(progress_alias()).filter(job=job).count()
    free_workers(job)  # the attempt before may be running still
    _run(job, plan)
    if plan.weights is None:
        names = Stage.objects.using(progress_alias()).filter(job=job)
        weights = dict(names.order_by("position").values_list("name", "weight"))
        _write_stages(
            job,
            [
                Stage(job=job, name=name, position=position, weight=weight)
                for position, (name, weight) in enumerate(weights.items())
            ],
        )


def _write_plan(job: Job, plan: JobPlan, *, keep_stages: bool = False) -> None:
    using = progress_alias()
    if not keep_stages:
        _write_stages(job, plan.new_stages(job))
    Worker.objects.using(using).filter(job=job).delete()
    Worker.objects.using(using).bulk_create(
        Worker(job=job, number=number) for number in range(1, job.pool_size + 1)
    )


def _write_stages(job: Job, stages: Sequence[Stage]) -> None:
    Stage.objects.using(progress_alias()).filter(job=job).delete()
    Stage.objects.using(progress_alias()).bulk_create(stages)
