"""Turns rows into schemas: the state of a job at one instant, with all that is computed on read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import TypeVar

from django.db.models import QuerySet

from ingestion_progress.conf import conf
from ingestion_progress.models import Job, Stage, Worker, rows_by
from ingestion_progress.models.stages import percent_before_success, plan_percent, shown_percent
from ingestion_progress.models.statuses import (
    JobResult,
    JobStatus,
    Liveness,
    StageStatus,
    WorkerStatus,
)
from ingestion_progress.wire.forecast.event import forecast_event
from ingestion_progress.wire.schemas import (
    ForecastEventData,
    JobStateEventData,
    MetricsSchema,
    NextAttemptEventData,
    PipelineProgressEventData,
    StageProgressSchema,
    TimingSchema,
    WorkerInfoSchema,
    WorkerPoolSchema,
)

Row = TypeVar("Row", Stage, Worker)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One job with its stages and workers. Methods that depend on the clock take `now`."""

    job: Job
    stages: Sequence[Stage]
    """The stages by position, skipped ones included."""
    workers: Sequence[Worker]
    """The workers by number."""

    @property
    def cursor(self) -> str:
        """Changes with every write and every attempt: the `id:` of a stream of this job."""
        return self.job.version

    @property
    def planned_stages(self) -> list[Stage]:
        return [stage for stage in self.stages if not stage.is_skipped]

    @property
    def overall_percent(self) -> float:
        """0 to 100 with one decimal. Never falls within an attempt."""
        if self.job.job_status is JobStatus.SUCCEEDED:
            return 100.0
        reached = self.job.reached_percent
        if not self.job.former_jobs:
            reached = max(reached, plan_percent(self.stages))
        return percent_before_success(reached)

    def progress(self, now: datetime) -> PipelineProgressEventData:
        """The data of `pipeline_progress` at `now` (aware)."""
        job = self.job
        return PipelineProgressEventData(
            document_id=job.document_id,
            document_name=job.document_name,
            total_chunks=job.total_chunks,
            total_images=job.total_images,
            stages={stage.name: _stage(stage, now) for stage in self.planned_stages},
            worker_pool=self._worker_pool(),
            metrics=MetricsSchema(
                entities_total=job.entities_total,
                relations_total=job.relations_total,
                neo4j_writes=job.neo4j_writes,
                qdrant_writes=job.qdrant_writes,
            ),
            timing=self._timing(now),
            overall_progress_percent=self.overall_percent,
        )

    def state(self, now: datetime) -> JobStateEventData:
        """The data of `job_state`: what `pipeline_progress` has no field for."""
        job = self.job
        liveness = job.liveness(now)
        heartbeat_at = job.heartbeat_at if liveness in {Liveness.SILENT, Liveness.LOST} else None
        return JobStateEventData.model_validate(
            {
                "job_id": job.id,
                "status": job.job_status.value,
                "liveness": liveness.value if liveness else None,
                "attempt": job.attempt,
                "cancel_requested": job.is_asked_to_stop,
                "skipped_stages": [each.name for each in self.stages if each.is_skipped],
                "error_count": job.error_count,
                "error": job.error or None,
                "counters": job.counters,
                "failed_items": job.failed_items,
                "failed_by_stage": {each.name: each.failed for each in self.stages if each.failed},
                "estimated_stages": [each.name for each in self.stages if each.is_estimated],
                "stopped_stages": [each.name for each in self.stages if each.is_stopped],
                "event_count": job.event_count,
                "heartbeat_at": heartbeat_at.timestamp() if heartbeat_at else None,
                "result": JobResult.PARTIAL if job.result is JobResult.PARTIAL else None,
                "units": {each.name: each.unit for each in self.stages if each.unit},
                "waiting_for": job.awaited_service(now),
            }
        )

    def next_attempt(self) -> NextAttemptEventData | None:
        """The data of `next_attempt`; None unless the job waits for another attempt."""
        job = self.job
        if job.job_status is not JobStatus.QUEUED or job.attempt == 1:
            return None
        return NextAttemptEventData(
            job_id=job.id,
            attempt=job.attempt,
            max_attempts=job.attempt + max(0, conf.max_attempts - job.failed_attempts - 1),
            due_at=job.retry_at.timestamp() if job.retry_at else None,
            reason=job.error,
        )

    def forecast(self, now: datetime) -> ForecastEventData | None:
        """The data of `forecast`; None once the job has ended."""
        return forecast_event(self.job, self.overall_percent, now)

    def _worker_pool(self) -> WorkerPoolSchema:
        return WorkerPoolSchema(
            active=sum(worker.status == WorkerStatus.PROCESSING for worker in self.workers),
            max=max(self.job.pool_size, len(self.workers)),
            queue_depth=self.job.queue_depth,
            workers=[
                WorkerInfoSchema.model_validate(
                    {
                        "id": worker.number,
                        "status": worker.status,
                        "current_chunk": worker.current_chunk or None,
                        "progress_percent": shown_percent(worker.progress_percent),
                    }
                )
                for worker in self.workers
            ],
        )

    def _timing(self, now: datetime) -> TimingSchema:
        job = self.job
        forecast = self.forecast(now)
        return TimingSchema(
            started_at=job.started_at.timestamp() if job.started_at else 0,
            elapsed_ms=_milliseconds(job.started_at, job.finished_at or now),
            estimated_remaining_ms=forecast.likely_ms if forecast else 0,
        )


def load_snapshots(
    jobs: Iterable[Job] | QuerySet[Job], *, with_workers: bool = True
) -> dict[str, Snapshot]:
    """Snapshots by job id, in the given order; two queries in addition to the one for `jobs`.

    Without workers it is one query: a list does not show them, and a job may have thousands.
    """
    found = list(jobs)
    ids = [job.pk for job in found]
    stages = _grouped(sorted(rows_by(Stage, "job_id", ids), key=attrgetter("position")))
    of_pools = rows_by(Worker, "job_id", ids) if with_workers else []
    workers = _grouped(sorted(of_pools, key=attrgetter("number")))
    return {
        job.pk: Snapshot(job=job, stages=stages[job.pk], workers=workers[job.pk]) for job in found
    }


def load_snapshot(job_id: str) -> Snapshot | None:
    """The snapshot of one job, or None if there is no such job."""
    return load_snapshots(Job.objects.filter(pk=job_id)).get(job_id)


def _grouped(rows: Iterable[Row]) -> Mapping[str, list[Row]]:
    by_job: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_job[row.job_id].append(row)
    return by_job


def _stage(stage: Stage, now: datetime) -> StageProgressSchema:
    return StageProgressSchema.model_validate(
        {
            "name": stage.name,
            "status": stage.status,
            "processed": stage.processed,
            # Another process may have grown the total without having written it yet.
            "total": max(stage.total, stage.processed) if stage.total else 0,
            "in_flight": stage.in_flight,
            "progress_percent": shown_percent(stage.percent),
            "duration_ms": _milliseconds(stage.started_at, stage.finished_at or now),
            # A job that succeeds completes its stages, however far they are.
            "is_complete": stage.stage_status is StageStatus.COMPLETED
            and stage.processed >= stage.total,
        }
    )


def _milliseconds(start: datetime | None, end: datetime) -> int:
    return max(0, round((end - start).total_seconds() * 1000)) if start else 0
