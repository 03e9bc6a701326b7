"""The door in: what ingestion tasks call to report, and the only writer of progress.

    with track("report.pdf", stages=["parsing", "embedding"]) as job:
        with job.stage("parsing", total=12, unit="pages") as stage:
            for page in stage.iterate(pages):
                ...

`plans` says what a job is to be; `blocks`, `jobs`, `stages` and `workers` are what a task
holds; `buffers` and `changes` keep what it said; `writers` and `background` carry it to the
database; `records` and `lifecycle` are the SQL.
"""

from __future__ import annotations

from ingestion_progress.tracker.blocks import JoinedJob, OwnedJob
from ingestion_progress.tracker.jobs import JobTracker
from ingestion_progress.tracker.lifecycle import (
    delete_job,
    fail_job,
    lose_silent_jobs,
    queue_job,
    request_cancellation,
)
from ingestion_progress.tracker.plan import JobPlan, Stages
from ingestion_progress.tracker.reasons import reason_of
from ingestion_progress.tracker.stages import StageTracker
from ingestion_progress.tracker.workers import WorkerSlot

__all__ = [
    "JobTracker",
    "StageTracker",
    "Stages",
    "WorkerSlot",
    "attach",
    "delete_job",
    "fail_job",
    "lose_silent_jobs",
    "queue_job",
    "reason_of",
    "request_cancellation",
    "track",
]


def track(
    document_name: str,
    *,
    job_id: str | None = None,
    document_id: str | None = None,
    batch: str | None = None,
    stages: Stages | None = None,
    workers: int = 0,
    total_chunks: int = 0,
    total_images: int = 0,
    restart: bool = False,
) -> OwnedJob:
    """A job for a `with` (or `async with`) block, which ends it.

    `job_id`: chosen by the caller (1 to 255 printable characters, no slash), or that of a
    queued job, or left out for one that cannot be guessed. `batch`: a name that jobs share which
    are started together, to list and to watch them by; a queued job keeps its own. `stages`: names
    in order, or names with weights; the five of document ingestion when left out. `workers`: size
    of the pool. `restart`: a job that exists begins a new attempt.

    Entering raises JobExists, JobCancelled (before it could start) or ProgressUnavailable.
    """
    plan = JobPlan.of(
        document_name,
        job_id=job_id,
        document_id=document_id,
        batch=batch,
        stages=stages,
        workers=workers,
        total_chunks=total_chunks,
        total_images=total_images,
    )
    return OwnedJob(plan, restart=restart)


def attach(job_id: str) -> JoinedJob:
    """Joins a running job from another thread, process or host; leaving does not end it.

    For a `with` (or `async with`) block, or without one: then the first use opens it.
    Raises JobNotFound, or InvalidTransition where the job does not run.
    """
    return JoinedJob(job_id)
