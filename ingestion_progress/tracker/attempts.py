"""How the next attempt of a job begins. The caller has locked the job's row."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db.models import Count, F

from ingestion_progress.models import (
    Checkpoint,
    Job,
    JobAttempt,
    JobEvent,
    JobSamples,
    Stage,
    Worker,
    new_epoch,
)
from ingestion_progress.models.attempts import MAX_KEPT_ATTEMPTS
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.events import MAX_MESSAGE_LENGTH
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.models.samples import MAX_SAMPLED_ATTEMPTS
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker.database import insert, rows, rows_of, save_job
from ingestion_progress.tracker.plan import clean_text

# What a new attempt sets back to its default.
RESET_COLUMNS = (
    *("entities_total", "relations_total", "neo4j_writes", "qdrant_writes", "counters"),
    *("total_chunks", "total_images", "queue_depth", "reached_percent", "error_count"),
    *("failed_items", "former_jobs", "likely_end_at", "earliest_end_at", "latest_end_at"),
    *("started_at", "heartbeat_at", "finished_at", "retry_at", "writer", "error"),
    "started_by",
    *("waits_for_batch", "waiting_for"),
    "is_forecast_by_weights",
    *("cancel_requested_at", "cancel_requested_by", "cancel_acknowledged_at"),
)


def this_process() -> str:
    """Identifies the process that tracks a job to its supervisor: host and process id."""
    return process_name(os.getpid())


def process_name(pid: int) -> str:
    return f"{socket.gethostname()[:200]}/{pid}"


def begin_attempts(again: Sequence[Job], *, keep_checkpoints: bool) -> None:
    """Resets the rows, which the caller saves: next number, new epoch, counts of a new attempt.

    A job keeps its log, its stages and, with `keep_checkpoints`, the keys of finished items.
    """
    logged = rows(JobEvent).filter(job__in=again).order_by().values_list("job")
    event_counts = dict(logged.annotate(Count("pk")))
    new = Job()
    for job in again:
        for name in RESET_COLUMNS:
            setattr(job, name, getattr(new, name))
        job.attempt += 1
        job.epoch = new_epoch()
        job.event_count = event_counts.get(job.pk, 0)
    checkpoints = rows(Checkpoint).filter(job__in=again)
    if not keep_checkpoints:
        checkpoints.delete()
    checkpoints.update(failed=[])
    _replace_stages(again, list(rows(Stage).filter(job__in=again)))
    write_workers(again)  # the last attempt may still be running
    _delete_old_rows(again)


def _delete_old_rows(again: Sequence[Job]) -> None:
    """Deletes old samples and ended attempts: one statement for each, or none if there are few."""
    newest = F("job__attempt") + 1  # of the rows, which the caller has not saved yet
    if many := [job.pk for job in again if job.attempt > MAX_SAMPLED_ATTEMPTS]:
        old = rows(JobSamples).filter(job__in=many, attempt__lte=newest - MAX_SAMPLED_ATTEMPTS)
        old.delete()
    if many := [job.pk for job in again if job.attempt > MAX_KEPT_ATTEMPTS]:
        # The attempt that begins gets a row at its end, too.
        middle = rows(JobAttempt).filter(job__in=many, number__lte=newest - MAX_KEPT_ATTEMPTS + 1)
        middle.exclude(number=1).delete()


def queue_attempts(
    again: Sequence[Job],
    *,
    due_at: datetime | None,
    reason: str = "",
    by: str = "",
    keep_checkpoints: bool = True,
) -> None:
    """Queues the next attempt of each job.

    At `due_at` the job's task is queued; None: a broker delivers the task again. `by`: the user who
    retries the jobs.
    """
    begin_attempts(again, keep_checkpoints=keep_checkpoints)
    for job in again:
        job.status = JobStatus.QUEUED
        job.queued_at = job.updated_at = max(database_now(), job.created_at)
        job.retry_at = due_at
        job.started_by = clean_text(by, MAX_NAME_LENGTH)
        job.error = clean_text(reason, MAX_MESSAGE_LENGTH)
        job.revision += 1
        save_job(job)


def write_stages(job: Job, weights: Mapping[str, float]) -> None:
    """Replaces the stages of the job. What its checkpoints hold counts as processed."""
    former = {stage.name: stage for stage in rows_of(Stage, job)}
    stages = [former.get(name, Stage(job=job, name=name)) for name in weights]
    for position, stage in enumerate(stages):
        stage.position, stage.weight = position, weights[stage.name]
    _replace_stages([job], stages)


def _replace_stages(again: Sequence[Job], former: Sequence[Stage]) -> None:
    checkpoints = rows(Checkpoint).filter(job__in=again)
    done = {(each.job_id, each.stage): each.done_count for each in checkpoints}
    stages = []
    for stage in former:
        new = Stage(
            job_id=stage.job_id, name=stage.name, position=stage.position, weight=stage.weight
        )
        if processed := done.get((stage.job_id, stage.name), 0):
            new.processed, new.unit = processed, stage.unit
            new.total = new.inherited_total = stage.total
        stages.append(new)
    rows(Stage).filter(job__in=again).delete()
    insert(stages)


def write_workers(again: Sequence[Job]) -> None:
    """Replaces the pool of each job."""
    rows(Worker).filter(job__in=again).delete()
    insert(
        Worker(job=job, number=number) for job in again for number in range(1, job.pool_size + 1)
    )
