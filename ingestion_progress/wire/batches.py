"""The progress and the forecast of batches, from the rows of their jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from django.db.models import Avg, Count, Max, Min, Q, Sum
from pydantic import BaseModel, Field

from ingestion_progress.models import Batch
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.stages import percent_before_success, shown_percent
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.batch_forecasts import (
    ActiveCounts,
    BatchForecastSchema,
    batch_forecasts,
)
from ingestion_progress.wire.frames import Frame, encode_event
from ingestion_progress.wire.schemas import WireModel

BATCHES_PER_READ = 100
SUCCEEDED = Q(status=JobStatus.SUCCEEDED)
COUNTED = {status.value: Q(status=status) for status in JobStatus} | {
    "succeeded": SUCCEEDED & Q(failed_items=0),
    "partial": SUCCEEDED & Q(failed_items__gt=0),
}


class BatchCountsSchema(BaseModel):
    """Numbers of jobs: each job is counted once."""

    queued: int = Field(default=0, ge=0)
    running: int = Field(default=0, ge=0)
    succeeded: int = Field(default=0, ge=0, description="Without failed items.")
    partial: int = Field(default=0, ge=0, description="Succeeded, but some of their items failed.")
    failed: int = Field(default=0, ge=0)
    cancelled: int = Field(default=0, ge=0)
    lost: int = Field(default=0, ge=0)

    @property
    def active(self) -> int:
        return self.queued + self.running


class BatchProgressSchema(BaseModel):
    """How far the jobs of a batch are, together."""

    jobs: int = Field(default=0, ge=0)
    counts: BatchCountsSchema = BatchCountsSchema()
    overall_progress_percent: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="The mean of its jobs. 100 only if all of them succeeded; a job that ended "
        "otherwise counts as far as it came.",
    )
    failed_items: int = Field(default=0, ge=0)
    error_count: int = Field(default=0, ge=0)
    started_at: datetime | None = Field(default=None, description="Of the first job.")
    finished_at: datetime | None = Field(
        default=None, description="Of the last job; null while jobs are queued or running."
    )
    forecast: BatchForecastSchema | None = Field(
        default=None, description="Of the end of the last job; null if none is queued or running."
    )

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        counts = BatchCountsSchema(**{name: row[name] for name in COUNTED})
        have_succeeded = counts.succeeded + counts.partial == row["jobs"]
        shown = shown_percent if have_succeeded else percent_before_success
        return cls(
            jobs=row["jobs"],
            counts=counts,
            overall_progress_percent=shown(row["percent"]),
            failed_items=row["failed_item_count"],
            error_count=row["recorded_errors"],
            started_at=row["first_start"],
            finished_at=None if counts.active else row["last_end"],
        )


class BatchProgressEventData(WireModel):
    """Sent on a stream of one batch, when it begins and when the progress changes."""

    batch_id: str
    progress: BatchProgressSchema = Field(description="Of the jobs that the viewer may see.")


@dataclass(frozen=True, kw_only=True)
class BatchFrame(Frame):
    """The progress of a batch as bytes. It does not change where a client resumes."""

    data: BatchProgressEventData = field(compare=False)

    @classmethod
    def of(cls, data: BatchProgressEventData) -> Self:
        return cls(
            body=encode_event("batch_progress", data),
            cursor="",
            percent=data.progress.overall_progress_percent,
            is_final=False,
            data=data,
        )


def batch_frames(jobs: JobQuerySet, batch_ids: Collection[str]) -> dict[str, BatchFrame]:
    """The frames of these batches, counted from those of their jobs that are among `jobs`.

    Three queries for each BATCHES_PER_READ of them, however many jobs they have.
    """
    found: dict[str, BatchFrame] = {}
    listed = sorted(batch_ids)
    for start in range(0, len(listed), BATCHES_PER_READ):
        names = listed[start : start + BATCHES_PER_READ]
        records = Batch.objects.in_bulk(names)
        batches = [records.get(name) or Batch(id=name) for name in names]
        for batch_id, progress in batch_progress(jobs, batches).items():
            data = BatchProgressEventData(batch_id=batch_id, progress=progress)
            found[batch_id] = BatchFrame.of(data)
    return found


def batch_progress(jobs: JobQuerySet, batches: Iterable[Batch]) -> dict[str, BatchProgressSchema]:
    """The progress of each of the batches, of those of its jobs that are among `jobs`, by its id.

    One query, and another one if some of these jobs are queued or running.
    """
    listed = {batch.pk: batch for batch in batches}
    of_batches = jobs.filter(batch__in=list(listed)).exclude(batch="")
    found = {row["batch"]: BatchProgressSchema.of(row) for row in _counted(of_batches)}
    active = {
        batch: ActiveCounts(counts.queued, counts.running, listed[batch].max_running)
        for batch, progress in found.items()
        if (counts := progress.counts).active
    }
    for batch, forecast in batch_forecasts(of_batches, active).items():
        found[batch].forecast = forecast
    return {batch: found.get(batch) or BatchProgressSchema() for batch in listed}


def _counted(jobs: JobQuerySet) -> Iterable[Mapping[str, Any]]:
    """A row for each batch."""
    return (
        jobs.order_by()
        .values("batch")
        .annotate(
            jobs=Count("pk"),
            **{name: Count("pk", filter=condition) for name, condition in COUNTED.items()},
            percent=Avg("reached_percent"),
            failed_item_count=Sum("failed_items"),
            recorded_errors=Sum("error_count"),
            first_start=Min("started_at"),
            last_end=Max("finished_at"),
        )
    )
