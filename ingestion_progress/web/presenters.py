"""What the pages show of a job in addition to its own fields: texts, formatted and labelled.

A view or row is a context of a template; a text that has nothing to say is empty.
"""

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from django.urls import reverse

from ingestion_progress.exceptions.stored_sentences import translate_stored
from ingestion_progress.models import Job, JobAttempt, JobEvent
from ingestion_progress.models.spans import milliseconds_between
from ingestion_progress.models.statuses import (
    AttemptStatus,
    EventLevel,
    ForecastReason,
    JobResult,
    JobStatus,
    Liveness,
)
from ingestion_progress.web import formatting, job_parts, names, stage_texts
from ingestion_progress.web.attempt_timeline import attempt_timeline
from ingestion_progress.web.job_parts import Context
from ingestion_progress.web.long_names import split_name
from ingestion_progress.wire.batch_forecasts import BatchForecastSchema
from ingestion_progress.wire.schemas import (
    ForecastEventData,
    JobStateEventData,
    NextAttemptEventData,
    PipelineProgressEventData,
)
from ingestion_progress.wire.snapshots import Snapshot

logger = logging.getLogger("ingestion_progress.web")

# At most this many workers are shown without unfolding them.
FEW_WORKERS = 8
ENDING_MARKS = {
    JobResult.SUCCEEDED: "✓",
    JobResult.PARTIAL: "!",
    JobResult.FAILED: "✗",
    JobResult.LOST: "✗",
    JobResult.CANCELLED: "–",
}


def job_view(snapshot: Snapshot, now: datetime) -> Context:
    job, progress, state = snapshot.job, snapshot.progress(now), snapshot.state(now)
    next_attempt = snapshot.next_attempt()
    pool, timing = progress.worker_pool, progress.timing
    is_moving = state.liveness == "working"
    return {
        "name": _name(job),
        "status_label": formatting.job_label(job.status, job.failed_items),
        "ending": _ending(job),
        "result": _shown_result(job),
        "liveness": state.liveness or "",
        "notice": _notice(state, next_attempt),
        "next_attempt": next_attempt_text(next_attempt, now),
        "waiting_for": translate_stored(state.waiting_for or ""),
        "error": translate_stored(job.error),
        "silence": _silence(state, now),
        "percent": formatting.number(progress.overall_progress_percent),
        "percent_text": formatting.exact_percent(progress.overall_progress_percent),
        "activity": _activity(progress),
        "elapsed": _elapsed(job, timing.elapsed_ms),
        "remaining": remaining_text(snapshot.forecast(now)) if is_moving else "",
        "error_note": formatting.error_note(job.error_count),
        "stages": job_parts.stages(snapshot, progress),
        "workers": [job_parts.worker(worker) for worker in pool.workers],
        "has_few_workers": 0 < len(pool.workers) <= FEW_WORKERS,
        "busy": stage_texts.busy(pool.active, pool.max),
        "waiting": stage_texts.waiting_items(pool.queue_depth),
        "metrics": job_parts.metrics(progress, state),
        "has_no_metrics": job_parts.has_no_metrics(snapshot, progress),
        "counters": [
            (name, names.label(name), formatting.count(value))
            for name, value in state.counters.items()
        ],
    }


def remaining_text(forecast: ForecastEventData | BatchForecastSchema | None) -> str:
    """The time with its range, and why it is unknown or a guess; empty after the end."""
    if forecast is None:
        return ""
    left = formatting.remaining(forecast.likely_ms, forecast.low_ms, forecast.high_ms)
    reason = str(ForecastReason(forecast.reason).label) if forecast.reason else ""
    return formatting.with_reason(left, reason)


def job_row(snapshot: Snapshot, now: datetime, position: int = 0) -> Context:
    """`position` is that in the queue, if it is known."""
    job, progress, liveness = snapshot.job, snapshot.progress(now), snapshot.job.liveness(now)
    return {
        "job": job,
        "url": reverse("ingestion_progress:job_detail", args=[job.id]),
        **name_parts(job),
        "status_label": formatting.job_label(job.status, job.failed_items),
        "result": _shown_result(job),
        "liveness": liveness.value if liveness else "",
        "percent": formatting.number(progress.overall_progress_percent),
        "percent_text": formatting.percent(progress.overall_progress_percent),
        "note": _note(job, liveness, job.awaited_service(now), position),
        "since": _running_since(job),
        "age": formatting.age(milliseconds_between(job.created_at, now)),
        "elapsed": _elapsed(job, progress.timing.elapsed_ms) if job.started_at else "",
    }


def _elapsed(job: Job, elapsed_ms: int) -> str:
    write = formatting.exact_duration if job.is_finished else formatting.duration
    return write(elapsed_ms)


def event_views(events: Iterable[JobEvent]) -> list[Context]:
    return [
        {
            "id": event.pk,
            "at": event.at,
            "level": event.level,
            "level_label": EventLevel(event.level).label,
            "where": " · ".join(
                filter(None, [names.label(event.stage), translate_stored(event.item)])
            ),
            "message": translate_stored(event.message),
        }
        for event in events
    ]


def log_line(event: JobEvent) -> str:
    """A line of the log that is downloaded, without control characters."""
    at = event.at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")
    parts = [at, event.level.upper(), event.stage, event.item, event.message]
    text = " ".join(filter(None, parts))
    return "".join(each if each.isprintable() else " " for each in text) + "\n"


def attempt_views(attempts: Iterable[JobAttempt]) -> list[Context]:
    return [
        {
            "number": each.number,
            "status": each.status,
            "label": AttemptStatus(each.status).label,
            "finished_at": each.finished_at,
            "took": _took(each),
            "started_by": each.started_by,
            "cancelled_by": translate_stored(each.cancelled_by),
            "failed_note": stage_texts.failures(each.failed_items),
            "error": translate_stored(each.error),
            "timeline": attempt_timeline(each),
            "has_no_times": each.started_at is not None and each.stages is None,
        }
        for each in attempts
    ]


def about_view(job: Job) -> Context | None:
    """The object that a job is about, and the address of its page; None without an object."""
    if not job.about_model:
        return None
    found = job.about
    if found is None:
        return {"text": f"{job.about_model} {job.about_id}", "url": ""}
    try:
        url = found.get_absolute_url() if hasattr(found, "get_absolute_url") else ""
        return {"text": str(found), "url": url}
    except Exception:  # of the project's model; the page of the job is not about it
        logger.exception("object_of_job_not_shown", extra={"job_id": job.pk})
        return {"text": f"{job.about_model} {job.about_id}", "url": ""}


def metadata_views(job: Job) -> list[tuple[str, str]]:
    """Names, and values as text: other values than text as JSON."""
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in job.metadata.items()
    ]


def _took(attempt: JobAttempt) -> str:
    """Empty if it ended before it began."""
    if attempt.started_at is None:
        return ""
    return formatting.duration(milliseconds_between(attempt.started_at, attempt.finished_at))


def name_parts(job: Job) -> dict[str, str]:
    """The name, and the parts of it of which a narrow column cuts only the first."""
    name = _name(job)
    start, end = split_name(name)
    return {"name": name, "name_start": start, "name_end": end}


def _name(job: Job) -> str:
    return job.document_name or job.document_id or job.id


def _shown_result(job: Job) -> str:
    """The result as an attribute: empty if the status says the same."""
    return job.result.value if job.result is JobResult.PARTIAL else ""


def _notice(state: JobStateEventData, next_attempt: NextAttemptEventData | None) -> str:
    if JobStatus(state.status).is_final:
        return state.status
    if next_attempt and state.liveness == "queued":
        return "next_attempt"
    if state.cancel_requested:
        return "stopping"
    return "waiting" if state.waiting_for else f"liveness-{state.liveness}"


def _ending(job: Job) -> str:
    """How it ended, for the title of its page, as `job-tab.js` shows it; empty before."""
    if job.result is None:
        return ""
    return f"{ENDING_MARKS[job.result]} {formatting.job_label(job.status, job.failed_items)}"


def _silence(state: JobStateEventData, now: datetime) -> str:
    """Since the last sign of life of a job that is silent or lost."""
    if state.heartbeat_at is None:
        return ""
    return formatting.duration(max(0, round((now.timestamp() - state.heartbeat_at) * 1000)))


def next_attempt_text(data: NextAttemptEventData | None, now: datetime) -> str:
    if data is None:
        return ""
    due_in_ms = None if data.due_at is None else round((data.due_at - now.timestamp()) * 1000)
    return formatting.next_attempt(data.attempt, data.max_attempts, data.reason, due_in_ms)


def _running_since(job: Job) -> str:
    """For the clock of the browser, in Unix milliseconds; empty unless the job runs."""
    is_running = job.started_at is not None and not job.is_finished
    return f"{job.started_at.timestamp() * 1000:.0f}" if is_running and job.started_at else ""


def _note(job: Job, liveness: Liveness | None, service: str, position: int) -> str:
    """The text below the name in a row; often empty."""
    reason = formatting.waiting(service) or _reason(job, liveness)
    if position and (position > 1 or liveness is Liveness.QUEUED):
        reason = formatting.queue_position(position)
    return " · ".join(filter(None, [formatting.attempt_note(job.attempt), reason]))


def _reason(job: Job, liveness: Liveness | None) -> str:
    """Why a job does not move, or how it ended."""
    if liveness:
        return "" if liveness is Liveness.WORKING else str(liveness.label)
    if job.job_status is JobStatus.SUCCEEDED:
        return formatting.error_note(job.error_count)
    return translate_stored(job.error)


def _activity(progress: PipelineProgressEventData) -> str:
    stages = progress.stages.values()
    running = [names.label(stage.name) for stage in stages if stage.status == "in_progress"]
    return stage_texts.activity(
        running, has_started=any(stage.status != "pending" for stage in stages)
    )
