"""What the operations take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ingestion_progress.api.ids import OptionalId
from ingestion_progress.api.links import JobLinksSchema, job_links
from ingestion_progress.models import Job
from ingestion_progress.wire.schemas import JobStateEventData, PipelineProgressEventData
from ingestion_progress.wire.snapshots import Snapshot

StatusWord = Literal["queued", "running", "succeeded", "failed", "cancelled", "lost"]
LivenessWord = Literal["queued", "starved", "working", "stalled", "lost"]
LevelWord = Literal["info", "warning", "error"]

MAX_LIMIT = 1000
MAX_OFFSET = 1_000_000


def split_commas(values: list[str]) -> list[str]:
    """`?a=x&a=y` and `?a=x,y` are the same."""
    return [word.strip() for value in values for word in value.split(",")]


class PageQuery(BaseModel):
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT, description="At most this many.")
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET, description="Leave out this many first.")

    @property
    def slice(self) -> slice:
        return slice(self.offset, self.offset + self.limit)


class JobListQuery(PageQuery):
    status: Annotated[list[StatusWord], BeforeValidator(split_commas)] = Field(
        default=[], description="Only these statuses: repeated, or with commas between them."
    )
    batch: OptionalId = Field(default=None, description="Only the jobs of this batch.")


class JobEventListQuery(PageQuery):
    level: Annotated[list[LevelWord], BeforeValidator(split_commas)] = Field(
        default=[], description="Only these levels: repeated, or with commas between them."
    )


class JobSchema(BaseModel):
    """A job as it stands in a list."""

    job_id: str
    document_id: str
    document_name: str
    batch: str | None = Field(description="The name of the jobs that were started with it.")
    status: StatusWord
    liveness: LivenessWord | None = Field(description="null once the job has ended.")
    attempt: int = Field(ge=1)
    overall_progress_percent: float = Field(ge=0, le=100)
    error_count: int = Field(ge=0, description="Errors recorded so far; they need not end a job.")
    error: str | None = Field(description="Why the job ended without success.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: JobLinksSchema


class JobDetailSchema(JobSchema):
    """A job with all that its stream would say now."""

    progress: PipelineProgressEventData
    state: JobStateEventData


class JobListSchema(BaseModel):
    items: list[JobSchema]
    total: int = Field(ge=0, description="How many there are, whatever limit and offset say.")
    limit: int
    offset: int


class CreatedJobSchema(BaseModel):
    job_id: str
    document_id: str
    status: StatusWord
    links: JobLinksSchema


class JobEventSchema(BaseModel):
    """One line of a job's log."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    attempt: int
    at: datetime
    level: LevelWord
    stage: str = Field(description="Empty where the line is about the whole job.")
    item: str = Field(description="The page or chunk concerned; may be empty.")
    message: str


class JobEventListSchema(BaseModel):
    items: list[JobEventSchema]
    total: int = Field(ge=0)
    limit: int
    offset: int


def _job_fields(snapshot: Snapshot, now: datetime) -> dict[str, Any]:
    job = snapshot.job
    liveness = job.liveness(now)
    return {
        "job_id": job.id,
        "document_id": job.document_id,
        "document_name": job.document_name,
        "batch": job.batch or None,
        "status": job.job_status.value,
        "liveness": liveness.value if liveness else None,
        "attempt": job.attempt,
        "overall_progress_percent": snapshot.overall_percent,
        "error_count": job.error_count,
        "error": job.error or None,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "links": job_links(job.id),
    }


def describe_job(snapshot: Snapshot, now: datetime) -> JobSchema:
    return JobSchema(**_job_fields(snapshot, now))


def describe_job_in_detail(snapshot: Snapshot, now: datetime) -> JobDetailSchema:
    return JobDetailSchema(
        **_job_fields(snapshot, now), progress=snapshot.progress(now), state=snapshot.state(now)
    )


def describe_created_job(job: Job) -> CreatedJobSchema:
    return CreatedJobSchema.model_validate(
        {
            "job_id": job.id,
            "document_id": job.document_id,
            "status": job.job_status.value,
            "links": job_links(job.id),
        }
    )
