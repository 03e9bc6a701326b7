"""One job in detail: its record, its newest state, its attempts and its cancellation."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from ingestion_progress.api.schemas import JobSchema, job_fields
from ingestion_progress.models import Job, JobAttempt
from ingestion_progress.models.attempts import MAX_KEPT_ATTEMPTS
from ingestion_progress.wire.schemas import (
    ForecastEventData,
    JobStateEventData,
    NextAttemptEventData,
    PipelineProgressEventData,
)
from ingestion_progress.wire.snapshots import Snapshot

AttemptStatusName = Literal["succeeded", "failed", "cancelled", "lost", "interrupted"]


class AttemptSchema(BaseModel):
    """An attempt that has ended."""

    model_config = ConfigDict(from_attributes=True)

    number: int = Field(ge=1)
    status: AttemptStatusName = Field(
        description="`interrupted`: its process was stopped and handed the job back, or the task "
        "started the job again."
    )
    started_at: datetime | None
    finished_at: datetime
    failed_items: int = Field(ge=0)
    started_by: str = Field(description="Name of the user; empty if it began automatically.")
    cancelled_by: str = Field(description="Name of the user; empty if it was not cancelled.")
    error: str = Field(description="Why it ended without success; empty otherwise.")


class CancellationSchema(BaseModel):
    requested_at: datetime
    requested_by: str = Field(description="Name of the user; empty without a login.")
    acknowledged_at: datetime | None = Field(
        description="When the job's process read the request, or the job ended without reading it."
    )
    took_seconds: float | None = Field(
        ge=0, description="From the request to the end of the job; null until then."
    )

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """None unless the cancellation of the current attempt was requested."""
        if job.cancel_requested_at is None:
            return None
        took = job.finished_at and (job.finished_at - job.cancel_requested_at).total_seconds()
        return cls(
            requested_at=job.cancel_requested_at,
            requested_by=job.cancel_requested_by,
            acknowledged_at=job.cancel_acknowledged_at,
            took_seconds=None if took is None else max(0.0, took),
        )


class JobDetailSchema(JobSchema):
    """A job with the newest data of its stream."""

    started_by: str = Field(
        description="Name of the user who started the current attempt, by an upload or a retry; "
        "empty if it began automatically."
    )
    waits_for_batch: bool = Field(
        description="It is queued, and as many jobs of its batch run as may."
    )
    progress: PipelineProgressEventData
    state: JobStateEventData
    attempts: list[AttemptSchema] = Field(
        description="Those that have ended, oldest first. Of more than "
        f"{MAX_KEPT_ATTEMPTS}, the first and the newest others."
    )
    forecast: ForecastEventData | None = Field(
        description="The data of the event; null once the job has ended."
    )
    next_attempt: NextAttemptEventData | None = Field(
        description="The data of the event; null unless the job waits for another attempt."
    )
    cancellation: CancellationSchema | None = Field(
        description="Of the current attempt; null if nobody requested it."
    )


def describe_job_in_detail(snapshot: Snapshot, now: datetime) -> JobDetailSchema:
    # A process of an older version may have stored more than are kept.
    attempts = JobAttempt.objects.filter(job=snapshot.job).order_by("-number")
    newest = attempts[:MAX_KEPT_ATTEMPTS]
    return JobDetailSchema(
        **job_fields(snapshot, now),
        started_by=snapshot.job.started_by,
        waits_for_batch=snapshot.job.waits_for_batch,
        progress=snapshot.progress(now),
        state=snapshot.state(now),
        attempts=[AttemptSchema.model_validate(each) for each in reversed(newest)],
        forecast=snapshot.forecast(now),
        next_attempt=snapshot.next_attempt(),
        cancellation=CancellationSchema.of(snapshot.job),
    )
