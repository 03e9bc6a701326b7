"""How the next attempt of a job begins. The caller has locked the job's row."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import datetime

from django.utils import timezone

from ingestion_progress.models import Checkpoint, Job, JobEvent, Stage, Worker, new_epoch
from ingestion_progress.models.events import MAX_MESSAGE_LENGTH
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker.database import progress_alias, rows, rows_of
from ingestion_progress.tracker.plan import clean_text

# What a new attempt sets back to its default.
RESET_COLUMNS = (
    *("entities_total", "relations_total", "neo4j_writes", "qdrant_writes", "counters"),
    *("total_chunks", "total_images", "queue_depth", "reached_percent", "error_count"),
    *("failed_items", "started_at", "heartbeat_at", "finished_at", "retry_at", "writer", "error"),
    *("cancel_requested_at", "cancel_requested_by", "cancel_acknowledged_at"),
)


def this_process() -> str:
    """Identifies the process that tracks a job to its supervisor: host and process id."""
    return f"{socket.gethostname()[:200]}/{os.getpid()}"


def begin_attempt(job: Job, *, keep_checkpoints: bool) -> None:
    """Resets the row, which the caller saves: next number, new epoch, counts of a new attempt.

    The job keeps its log, its stages and, with `keep_checkpoints`, the keys of finished items.
    """
    new = Job()
    for name in RESET_COLUMNS:
        setattr(job, name, getattr(new, name))
    job.attempt += 1
    job.epoch = new_epoch()
    job.event_count = rows_of(JobEvent, job).count()
    if not keep_checkpoints:
        rows_of(Checkpoint, job).delete()
    rows_of(Checkpoint, job).update(failed=[])
    stages = rows_of(Stage, job).order_by("position")
    write_stages(job, dict(stages.values_list("name", "weight")))
    write_workers(job)  # the former attempt may still be running


def queue_attempt(
    job: Job, *, due_at: datetime | None, reason: str = "", keep_checkpoints: bool = True
) -> None:
    """Queues the job's next attempt.

    At `due_at` the job's task is queued; None: whoever delivers the task does so anyway.
    """
    begin_attempt(job, keep_checkpoints=keep_checkpoints)
    now = max(timezone.now(), job.created_at)
    job.status = JobStatus.QUEUED
    job.queued_at = job.updated_at = now
    job.retry_at = due_at
    job.error = clean_text(reason, MAX_MESSAGE_LENGTH)
    job.revision += 1
    job.save(using=progress_alias())


def write_stages(job: Job, weights: Mapping[str, float]) -> None:
    """Replaces the stages of the job. What its checkpoints hold counts as processed."""
    done = {each.stage: each.done_count for each in rows_of(Checkpoint, job)}
    former = {stage.name: stage for stage in rows_of(Stage, job)}
    stages = []
    for position, (name, weight) in enumerate(weights.items()):
        stage = Stage(job=job, name=name, position=position, weight=weight)
        if done.get(name) and name in former:
            stage.processed = done[name]
            stage.total, stage.unit = former[name].total, former[name].unit
        stages.append(stage)
    rows_of(Stage, job).delete()
    rows(Stage).bulk_create(stages)


def write_workers(job: Job) -> None:
    """Replaces the pool of the job."""
    rows_of(Worker, job).delete()
    rows(Worker).bulk_create(
        Worker(job=job, number=number) for number in range(1, job.pool_size + 1)
    )
