"""What is printed about a job."""

from datetime import datetime
from typing import TextIO, cast

from django.core.management.base import OutputWrapper
from rich.console import Console

from ingestion_progress.models import Job
from ingestion_progress.models.statuses import Liveness
from ingestion_progress.web import formatting
from ingestion_progress.web.presenters import next_attempt_text, remaining_text
from ingestion_progress.wire.batches import BatchProgressEventData
from ingestion_progress.wire.schemas import StageProgressSchema
from ingestion_progress.wire.snapshots import Snapshot

# In a pipe a line is printed after this much progress of a job.
PERCENT_PER_LINE = 5.0


def console_for(stdout: OutputWrapper) -> Console:
    """A rich console on a command's output, through which all output must go from now on."""
    stdout.ending = ""  # rich writes line ends itself, and parts of lines
    file = cast("TextIO", stdout)
    return Console(file=file, soft_wrap=not stdout.isatty(), highlight=False)


def line(snapshot: Snapshot, now: datetime) -> str:
    """The state of a job; an error may have several lines."""
    job, progress = snapshot.job, snapshot.progress(now)
    begun = [stage for stage in progress.stages.values() if stage.status != "pending"]
    parts = [
        f"{progress.overall_progress_percent:5.1f}%",
        status(job),
        f"attempt {job.attempt}" if job.attempt > 1 else "",
        progress.document_name or progress.document_id,
        ", ".join(f"{stage.name} {counts(stage)}" for stage in begun),
        warning(snapshot, now),
        job.error,
    ]
    return "  ".join(filter(None, parts))


def batch_line(data: BatchProgressEventData) -> str:
    """How far a batch is, and when its last job will end."""
    progress = data.progress
    ended = progress.jobs - progress.counts.active
    parts = [
        f"{progress.overall_progress_percent:5.1f}%",
        f"batch {data.batch_id}",
        f"{ended} of {progress.jobs} jobs ended",
        remaining_text(progress.forecast),
    ]
    return "  ".join(filter(None, parts))


def status(job: Job) -> str:
    """Its status; a success with failed items says so."""
    return formatting.job_label(job.status, job.failed_items).lower()


def step_of(snapshot: Snapshot, now: datetime) -> tuple[object, ...]:
    """A new line is printed when this changes."""
    job, stages = snapshot.job, [stage.status for stage in snapshot.stages]
    percent_step = snapshot.overall_percent // PERCENT_PER_LINE
    asked_at = job.cancel_requested_at
    state = (job.status, job.attempt, job.liveness(now), job.awaited_service(now))
    return *state, asked_at, stages, percent_step


def warning(snapshot: Snapshot, now: datetime) -> str:
    """Why an unfinished job needs attention, in a sentence; empty if it needs none."""
    job = snapshot.job
    match job.liveness(now):
        case Liveness.STARVED:
            queued_at = job.retry_at or job.queued_at or job.created_at
            return f"Queued for {_since(queued_at, now)}: is a worker running?"
        case Liveness.QUEUED:
            return next_attempt_text(snapshot.next_attempt(), now)
        case Liveness.STALLED:
            return f"Alive, but without progress for {_since(job.updated_at, now)}."
        case Liveness.SILENT | Liveness.LOST as liveness:
            silence = f"No sign of life for {_since(job.heartbeat_at or job.updated_at, now)}"
            is_lost = liveness is Liveness.LOST
            return f"{silence}: its process has probably died." if is_lost else f"{silence}."
        case _ if job.cancel_requested_at and not job.is_finished:
            return "Asked to stop."
        case _:
            service = job.awaited_service(now)
            return f"{formatting.waiting(service)}." if service else ""


def counts(stage: StageProgressSchema, *, is_estimated: bool = False) -> str:
    text = f"{stage.processed}/{'~' if is_estimated else ''}{stage.total or '?'}"
    return f"{text} (+{stage.in_flight})" if stage.in_flight else text


def _since(start: datetime, now: datetime) -> str:
    return formatting.duration(round((now - start).total_seconds() * 1000))
