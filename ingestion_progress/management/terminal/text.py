"""What is printed about a job."""

from datetime import datetime
from typing import TextIO, cast

from django.core.management.base import OutputWrapper
from django.utils.translation import gettext, gettext_noop, ngettext
from rich.console import Console

from ingestion_progress.exceptions.stored_sentences import translate_stored
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobResult, Liveness
from ingestion_progress.web import formatting
from ingestion_progress.web.presenters import next_attempt_text, remaining_text
from ingestion_progress.wire.batches import BatchProgressEventData
from ingestion_progress.wire.schemas import StageProgressSchema
from ingestion_progress.wire.snapshots import Snapshot

# Words that the pages do not have in lower case.
WORDS = (
    *(gettext_noop("deleted"), gettext_noop("unreadable"), gettext_noop("pending")),
    *(gettext_noop("completed"), gettext_noop("skipped"), gettext_noop("stopped")),
    *(gettext_noop("not run"), gettext_noop("idle")),
    *(gettext_noop("in progress"), gettext_noop("processing"), gettext_noop("working")),
)
# Where the output is no terminal, a line is printed after this much progress of a job.
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
        percent(progress.overall_progress_percent),
        status(job),
        attempt(job) if job.attempt > 1 else "",
        progress.document_name or progress.document_id,
        ", ".join(f"{stage.name} {counts(stage)}" for stage in begun),
        warning(snapshot, now),
        translate_stored(job.error),
    ]
    return "  ".join(filter(None, parts))


def batch_line(data: BatchProgressEventData) -> str:
    """How far a batch is, and when its last job will end."""
    progress = data.progress
    ended = progress.jobs - progress.counts.active
    numbers = {"number": formatting.count(ended), "total": formatting.count(progress.jobs)}
    parts = [
        percent(progress.overall_progress_percent),
        gettext("batch %(id)s") % {"id": data.batch_id},
        gettext("%(number)s of %(total)s jobs ended") % numbers,
        remaining_text(progress.forecast),
    ]
    return "  ".join(filter(None, parts))


def percent(value: float) -> str:
    """With a tenth, and as wide as 100%."""
    number = formatting.decimal(f"{value:5.1f}")
    return gettext("%(number)s%%") % {"number": number}


def attempt(job: Job) -> str:
    return gettext("attempt %(number)s") % {"number": job.attempt}


def status(job: Job) -> str:
    """Its status; a success with failed items says so."""
    if job.result != JobResult.PARTIAL:
        return word(job.status)
    number = job.failed_items
    return ngettext(
        "succeeded with %(number)s error", "succeeded with %(number)s errors", number
    ) % {"number": formatting.count(number)}


def word(status: str) -> str:
    """A status, of a job, stage or worker, or a liveness."""
    return gettext(status.replace("_", " "))


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
            values = {"time": _since(queued_at, now)}
            return gettext("Queued for %(time)s: is a worker running?") % values
        case Liveness.QUEUED:
            return next_attempt_text(snapshot.next_attempt(), now)
        case Liveness.STALLED:
            values = {"time": _since(job.updated_at, now)}
            return gettext("Alive, but without progress for %(time)s.") % values
        case Liveness.SILENT | Liveness.LOST as liveness:
            text = (
                gettext("No sign of life for %(time)s.")
                if liveness is Liveness.SILENT
                else gettext("No sign of life for %(time)s: its process has probably died.")
            )
            return text % {"time": _since(job.heartbeat_at or job.updated_at, now)}
        case _ if job.cancel_requested_at and not job.is_finished:
            return gettext("Asked to stop.")
        case _:
            service = job.awaited_service(now)
            return f"{formatting.waiting(service)}." if service else ""


def counts(stage: StageProgressSchema, *, is_estimated: bool = False) -> str:
    text = f"{stage.processed}/{'~' if is_estimated else ''}{stage.total or '?'}"
    return f"{text} (+{stage.in_flight})" if stage.in_flight else text


def _since(start: datetime, now: datetime) -> str:
    return formatting.duration(round((now - start).total_seconds() * 1000))
