"""The stages of an attempt that has ended, as bars over its time."""

from __future__ import annotations

from ingestion_progress.models import JobAttempt
from ingestion_progress.models.attempts import StageRecord
from ingestion_progress.models.spans import Span, milliseconds_between
from ingestion_progress.models.statuses import ShownStageStatus
from ingestion_progress.web import formatting, names, stage_texts
from ingestion_progress.web.timeline import FULL_PATH, Context, axis_view, share, ticks_path


def attempt_timeline(attempt: JobAttempt) -> Context | None:
    """None if it has not started, or if an older version ended it, which did not store stages."""
    if attempt.started_at is None or not attempt.stages:
        return None
    width_ms = milliseconds_between(attempt.started_at, attempt.finished_at)
    ticks = ticks_path(width_ms)
    return {
        "stages": [_stage(each, width_ms, ticks) for each in attempt.stages],
        "axis": axis_view(width_ms),
    }


def _stage(record: StageRecord, width_ms: int, ticks: str) -> Context:
    span = Span(*record["span_ms"]) if record["span_ms"] else None
    status = ShownStageStatus(record["status"])
    detail = stage_texts.stage_detail(
        status, record["processed"], record["total"], record["unit"], record["failed"]
    )
    return {
        "name": record["name"],
        "label": names.label(record["name"]),
        "status": status.value,
        "status_label": status.label,
        "detail": detail,
        "duration": formatting.duration(span.length_ms) if span else "",
        "time": {"bar": share(span, width_ms), "done": FULL_PATH if span else "", "ticks": ticks},
    }
