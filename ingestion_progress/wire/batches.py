"""The progress of batches, from the rows of their jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from django.db.models import Avg, Count, Max, Min, Q, Sum
from pydantic import BaseModel, Field

from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.stages import percent_before_success, shown_percent
from ingestion_progress.models.statuses import JobStatus

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


def batch_progress(jobs: JobQuerySet) -> dict[str, BatchProgressSchema]:
    """The progress of each batch of these jobs, by its id. One query."""
    rows = (
        jobs.exclude(batch="")
        .order_by()
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
    return {row["batch"]: BatchProgressSchema.of(row) for row in rows}
