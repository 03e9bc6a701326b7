"""The stages, workers and metrics of a job, as contexts of templates."""

from __future__ import annotations

from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext_lazy

from ingestion_progress.models import Stage
from ingestion_progress.models.names import METRIC_NAMES
from ingestion_progress.models.statuses import ShownStageStatus
from ingestion_progress.web import formatting, names, stage_texts
from ingestion_progress.wire.schemas import (
    DEFAULT_WEIGHTS,
    JobStateEventData,
    PipelineProgressEventData,
    StageProgressSchema,
    WorkerInfoSchema,
)
from ingestion_progress.wire.snapshots import Snapshot

Context = dict[str, Any]
Metric = tuple[str, str, str]
"""Name, label and value."""

METRIC_LABELS = {name: capfirst(gettext_lazy(word)) for name, word in METRIC_NAMES.items()}


def stages(snapshot: Snapshot, progress: PipelineProgressEventData) -> list[Context]:
    """By position. A skipped stage is not in `progress`, and is shown at its position."""
    return [
        _stage(progress.stages[stage.name], stage, is_over=snapshot.job.is_finished)
        if stage.name in progress.stages
        else _skipped(stage.name)
        for stage in snapshot.stages
    ]


def _stage(stage: StageProgressSchema, row: Stage, *, is_over: bool) -> Context:
    shown, unit = row.shown_status(is_over=is_over), row.unit
    is_total_known = bool(stage.total) or stage.status != "in_progress"
    return {
        "name": stage.name,
        "label": names.label(stage.name),
        "status": shown.value,
        "status_label": shown.label,
        "has_failed": "true" if row.failed else "",
        "detail": stage_texts.stage_detail(
            shown, stage.processed, stage.total, unit, row.failed, row.is_estimated
        ),
        "percent": formatting.number(stage.progress_percent),
        "is_total_known": is_total_known,
        "percent_text": formatting.percent(stage.progress_percent) if is_total_known else "–",
        "in_flight": stage_texts.in_flight(stage.in_flight),
        "unit": unit,
        "duration_ms": stage.duration_ms,
        "duration": "" if stage.status == "pending" else formatting.duration(stage.duration_ms),
    }


def _skipped(name: str) -> Context:
    return {
        "name": name,
        "label": names.label(name),
        "status": ShownStageStatus.SKIPPED.value,
        "status_label": ShownStageStatus.SKIPPED.label,
        "detail": stage_texts.stage_detail(ShownStageStatus.SKIPPED, 0, 0, ""),
        "percent": "0",
        "is_total_known": True,
    }


def worker(worker: WorkerInfoSchema) -> Context:
    activity = stage_texts.worker_activity(worker.status, worker.current_chunk or "")
    return {
        "number": str(worker.id),
        "status": worker.status,
        "activity": activity,
        "title": f"{stage_texts.worker(worker.id)}: {activity}",
        "percent": formatting.number(worker.progress_percent),
    }


def has_no_metrics(snapshot: Snapshot, progress: PipelineProgressEventData) -> bool:
    """Does another kind of job than document ingestion count none of its metrics?"""
    counts = (progress.total_chunks, progress.total_images, *progress.metrics.model_dump().values())
    stages = {stage.name for stage in snapshot.stages}
    return not any(counts) and not stages & DEFAULT_WEIGHTS.keys()


def metrics(progress: PipelineProgressEventData, state: JobStateEventData) -> list[Metric]:
    values = {
        "total_chunks": progress.total_chunks,
        "total_images": progress.total_images,
        **progress.metrics.model_dump(),
        "error_count": state.error_count,
    }
    return [
        (name, str(label), formatting.count(values[name])) for name, label in METRIC_LABELS.items()
    ]
