"""What ingestion tasks call to report progress, and the only code that writes it.

    with track("report.pdf", stages=["parsing", "embedding"]) as job:
        with job.stage("parsing", total=12, unit="pages") as stage:
            for page in stage.iterate(pages):
                ...

`jobs` and `stages` define what a task uses, and `contexts` what the end of its block does. `buffer`
collects changes, `writer` decides when they are written, `sql` and `lifecycle` write them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from ingestion_progress.tracker.batches import create_batch
from ingestion_progress.tracker.cancellations import request_cancellation
from ingestion_progress.tracker.contexts import AttachedJob, TrackedJob
from ingestion_progress.tracker.current import current_job
from ingestion_progress.tracker.decorators import tracked_by
from ingestion_progress.tracker.error_groups import reopen_error, resolve_error
from ingestion_progress.tracker.error_messages import without_secrets
from ingestion_progress.tracker.jobs import JobTracker
from ingestion_progress.tracker.lifecycle import delete_job, fail_job, queue_job
from ingestion_progress.tracker.log_capture import LogCapture, LogFilter
from ingestion_progress.tracker.plan import JobPlan, Stages
from ingestion_progress.tracker.reasons import reason_of
from ingestion_progress.tracker.stages import StageTracker
from ingestion_progress.tracker.workers import WorkerSlot

__all__ = [
    "JobTracker", "StageTracker", "Stages", "WorkerSlot", "attach", "create_batch", "current_job",
    "delete_job", "fail_job", "queue_job", "reason_of", "reopen_error", "request_cancellation",
    "resolve_error", "track", "tracked",
]  # fmt: skip


P = ParamSpec("P")
R = TypeVar("R")


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
    task: object = "",
    document_version: str = "",
    owner: object = None,
    metadata: Mapping[str, Any] | None = None,
    about: object = None,
    restart: bool = False,
    retry_on: tuple[type[BaseException], ...] = (),
    capture_logs: int | None = None,
    log_filter: LogFilter = without_secrets,
) -> TrackedJob:
    """A job for a `with` (or `async with`) block; the end of the block ends the job.

    - `job_id`: 1 to 255 printable characters without a slash, or the id of a queued job. If left
      out, it cannot be guessed.
    - `batch`: the id of a batch: jobs that belong together; a queued job keeps its own.
    - `stages`: names in order, or names with weights. If left out, the five of document ingestion.
    - `workers`: size of the pool.
    - `task`: what runs the job, as an object or a dotted path; it takes the job's id. With it,
      a job whose process dies or is stopped is queued again and continues.
    - `document_version`: a hash of the content, say; keys of another version do not count as done.
    - `owner`: a user or a user's primary key; a queued job keeps its own if this is left out.
    - `metadata`: the project's own data, a JSON object of at most 4 KB; likewise.
    - `about`: a saved instance of any model; likewise.
    - `restart`: if the job exists, it begins a new attempt.
    - `retry_on`: exceptions after which the next attempt is due, up to MAX_ATTEMPTS.
    - `capture_logs`: a level of `logging`; what the block logs from it on becomes part of the job's
      log. `log_filter` returns the text to store, or None to drop the line.

    Entering raises JobExists, JobCancelled (before it could start), BatchFull (the task is queued
    again when fewer jobs of the batch run) or ProgressUnavailable.
    """
    plan = JobPlan(
        document_name,
        job_id=job_id,
        document_id=document_id,
        batch=batch,
        stages=stages,
        workers=workers,
        total_chunks=total_chunks,
        total_images=total_images,
        task=task,
        document_version=document_version,
        owner=owner,
        metadata=metadata,
        about=about,
    )
    capture = None if capture_logs is None else LogCapture(capture_logs, log_filter)
    return TrackedJob(plan, restart=restart, retry_on=retry_on, log_capture=capture)


def tracked(
    document_name: str | Callable[..., str] = "", **options: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for functions and coroutine functions: each call is a job, `current_job()`.

    `document_name`: a text, or a function of the arguments; default: the function's name.
    `options`: those of `track`. `job_id`, `document_id`, `batch`, `owner`, `metadata` and `about`
    may be functions of the arguments too. The call raises what `track` raises.
    """
    return tracked_by(track, document_name, options)


def attach(job_id: str) -> AttachedJob:
    """Joins a running job from another thread, process or host; leaving does not end it.

    Works with or without a `with` (or `async with`) block; the first use joins. That raises
    JobNotFound, InvalidTransition if the job does not run, or ProgressUnavailable.
    """
    return AttachedJob(job_id)
