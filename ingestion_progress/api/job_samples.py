"""The samples of a job: how its counts grew."""

from typing import Any, Self

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field

from ingestion_progress.api.errors import error_responses
from ingestion_progress.api.jobs import JOB, job_or_404
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.models import JobSamples
from ingestion_progress.models.samples import MAX_SAMPLES

SAMPLES = JOB + "/samples"
MAX_ATTEMPT = 2**31 - 1

router = Router()


class JobSamplesQuery(BaseModel):
    attempt: int | None = Field(
        default=None, ge=1, le=MAX_ATTEMPT, description="Default: the newest attempt."
    )


class JobSampleSchema(BaseModel):
    elapsed_ms: int = Field(ge=0, description="Since the start of the attempt.")
    overall_progress_percent: float = Field(ge=0, le=100)
    processed: list[int] = Field(description="By stage, in the order of `stages`.")
    total: list[int] = Field(description="By stage; 0 while unknown.")
    remaining_ms: tuple[int, int, int] | None = Field(
        description="What was forecast: likely, low, high; below 0 if it was late. null: nothing."
    )
    busy_workers: int | None = Field(description="null in samples of older versions.")
    queue_depth: int | None = Field(
        description="Items that waited for a worker; null in samples of older versions."
    )

    @classmethod
    def of(cls, sample: list[Any]) -> Self:
        elapsed_ms, percent, processed, total, *later = sample
        remaining_ms, busy_workers, queue_depth = [*later, None, None, None][:3]
        return cls(
            elapsed_ms=elapsed_ms,
            overall_progress_percent=percent,
            processed=processed,
            total=total,
            remaining_ms=remaining_ms,
            busy_workers=busy_workers,
            queue_depth=queue_depth,
        )


class JobSamplesSchema(BaseModel):
    """How the counts of one attempt grew."""

    attempt: int = Field(ge=1)
    stages: list[str] = Field(description="The names of its stages, in order.")
    samples: list[JobSampleSchema] = Field(
        description=f"Oldest first, at most {MAX_SAMPLES}. Their distance doubles as the attempt "
        "goes on. Empty before the start."
    )


@router.get(
    SAMPLES,
    response={
        200: JobSamplesSchema,
        **error_responses(ErrorCode.NOT_FOUND, ErrorCode.INVALID_REQUEST),
    },
    summary="How a job's counts grew",
    url_name="job_samples",
    tags=["Progress"],
)
def get_job_samples(
    request: HttpRequest, job_id: str, query: Query[JobSamplesQuery]
) -> JobSamplesSchema:
    """Samples of the counts of one attempt, for a timeline, a throughput or a replay."""
    job = job_or_404(request, job_id)
    attempt = job.attempt if query.attempt is None else query.attempt
    stored = JobSamples.objects.filter(job=job, attempt=attempt).first()
    return JobSamplesSchema(
        attempt=attempt,
        stages=[] if stored is None else stored.stages,
        samples=[] if stored is None else [JobSampleSchema.of(each) for each in stored.samples],
    )
