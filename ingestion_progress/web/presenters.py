"""A job's snapshot as its page shows it: texts, formatted and labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ingestion_progress.models.statuses import StageStatus
from ingestion_progress.web import formatting
from ingestion_progress.wire.schemas import (
    JobStateEventData,
    PipelineProgressEventData,
    StageProgressSchema,
    WorkerInfoSchema,
)
from ingestion_progress.wire.snapshots import Snapshot

METRIC_LABELS = {
    "total_chunks": "Chunks",
    "total_images": "Images",
    "entities_total": "Entities",
    "relations_total": "Relations",
    "neo4j_writes": "Graph writes",
    "qdrant_writes": "Vector writes",
    "error_count": "Errors",
}


@dataclass(frozen=True, kw_only=True)
class StageView:
    """One row of the stages; the defaults are those of a skipped stage."""

    name: str
    label: str
    status: str
    status_label: str
    detail: str
    percent: str = "0"
    is_total_known: bool = True
    percent_text: str = ""
    in_flight: str = ""
    """Empty if nothing is in flight."""
    unit: str = ""
    """In plural, as the stage declares it."""
    duration: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkerView:
    number: str
    status: str
    activity: str
    percent: str


@dataclass(frozen=True, kw_only=True)
class MetricView:
    name: str
    label: str
    value: str


@dataclass(frozen=True, kw_only=True)
class JobView:
    """One job with all texts of its page."""

    id: str
    document_id: str
    document_name: str
    batch: str
    """Empty if the job belongs to none."""
    attempt: int
    status: str
    status_label: str
    liveness: str
    """Empty after the job has ended."""
    is_finished: bool
    is_cancel_requested: bool
    percent: str
    percent_text: str
    activity: str
    elapsed: str
    remaining: str
    created_at: datetime
    started_at: datetime | None
    error: str
    error_note: str
    stages: Sequence[StageView]
    workers: Sequence[WorkerView]
    busy: str
    waiting: str
    metrics: Sequence[MetricView]
    counters: Sequence[MetricView]

    @property
    def notice(self) -> str:
        """Which of the page's notices applies."""
        if self.is_finished:
            return self.status
        return "stopping" if self.is_cancel_requested else f"liveness-{self.liveness}"


def job_view(snapshot: Snapshot, now: datetime) -> JobView:
    job, progress, state = snapshot.job, snapshot.progress(now), snapshot.state(now)
    pool, timing = progress.worker_pool, progress.timing
    return JobView(
        id=job.id,
        document_id=job.document_id,
        document_name=job.document_name or job.document_id or job.id,
        batch=job.batch,
        attempt=job.attempt,
        status=state.status,
        status_label=job.job_status.label,
        liveness=state.liveness or "",
        is_finished=job.is_finished,
        is_cancel_requested=state.cancel_requested,
        percent=formatting.number(progress.overall_progress_percent),
        percent_text=formatting.exact_percent(progress.overall_progress_percent),
        activity=_activity(progress),
        elapsed=formatting.duration(timing.elapsed_ms),
        remaining=formatting.remaining(timing.estimated_remaining_ms)
        if state.liveness == "working"
        else "",  # no estimate for a job that does not move
        created_at=job.created_at,
        started_at=job.started_at,
        error=job.error,
        error_note=formatting.error_note(job.error_count),
        stages=_stages(snapshot, progress),
        workers=[_worker(worker) for worker in pool.workers],
        busy=f"{formatting.count(pool.active)} of {formatting.count(pool.max)} busy"
        if pool.max
        else "",
        waiting=f"{formatting.count(pool.queue_depth)} waiting" if pool.queue_depth else "",
        metrics=_metrics(progress, state),
        counters=[
            MetricView(name=name, label=formatting.label(name), value=formatting.count(value))
            for name, value in state.counters.items()
        ],
    )


def _activity(progress: PipelineProgressEventData) -> str:
    stages = progress.stages.values()
    running = [formatting.label(stage.name) for stage in stages if stage.status == "in_progress"]
    return formatting.activity(
        running, has_started=any(stage.status != "pending" for stage in stages)
    )


def _stages(snapshot: Snapshot, progress: PipelineProgressEventData) -> list[StageView]:
    """By position. A skipped stage is not on the wire and keeps its place here."""
    return [
        _stage(progress.stages[stage.name], stage.unit)
        if stage.name in progress.stages
        else _skipped(stage.name)
        for stage in snapshot.stages
    ]


def _stage(stage: StageProgressSchema, unit: str) -> StageView:
    is_total_known = bool(stage.total) or stage.status != "in_progress"
    return StageView(
        name=stage.name,
        label=formatting.label(stage.name),
        status=stage.status,
        status_label=StageStatus(stage.status).label,
        detail=formatting.stage_detail(stage.status, stage.processed, stage.total, unit),
        percent=formatting.number(stage.progress_percent),
        is_total_known=is_total_known,
        percent_text=formatting.percent(stage.progress_percent) if is_total_known else "–",
        in_flight=f"{formatting.count(stage.in_flight)} in flight" if stage.in_flight else "",
        unit=unit,
        duration="" if stage.status == "pending" else formatting.duration(stage.duration_ms),
    )


def _skipped(name: str) -> StageView:
    return StageView(
        name=name,
        label=formatting.label(name),
        status=StageStatus.SKIPPED.value,
        status_label=StageStatus.SKIPPED.label,
        detail=formatting.stage_detail(StageStatus.SKIPPED, 0, 0, ""),
    )


def _worker(worker: WorkerInfoSchema) -> WorkerView:
    return WorkerView(
        number=str(worker.id),
        status=worker.status,
        activity=formatting.worker_activity(worker.status, worker.current_chunk or ""),
        percent=formatting.number(worker.progress_percent),
    )


def _metrics(progress: PipelineProgressEventData, state: JobStateEventData) -> list[MetricView]:
    values = {
        "total_chunks": progress.total_chunks,
        "total_images": progress.total_images,
        **progress.metrics.model_dump(),
        "error_count": state.error_count,
    }
    return [
        MetricView(name=name, label=text, value=formatting.count(values[name]))
        for name, text in METRIC_LABELS.items()
    ]
