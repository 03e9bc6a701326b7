"""Operations on one job: detail, snapshot, log, cancellation, retry, deletion."""

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from ninja import Query, Router, Status
from pydantic import BaseModel, ConfigDict, Field

from ingestion_progress import recovery, tracker
from ingestion_progress.api.auth import MayStart
from ingestion_progress.api.details import JobDetailSchema, describe_job_in_detail
from ingestion_progress.api.errors import error_responses
from ingestion_progress.api.job_list import JOBS
from ingestion_progress.api.schemas import (
    JobEventListQuery,
    JobEventListSchema,
    JobEventSchema,
    JobSchema,
    describe_job,
)
from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import ErrorCode, InvalidJobId, JobNotFound
from ingestion_progress.models import Job, clean_job_id
from ingestion_progress.models.clock import database_now
from ingestion_progress.recovery import RetryScope
from ingestion_progress.wire.schemas import PipelineProgressEventData
from ingestion_progress.wire.snapshots import Snapshot, load_snapshots

JOB = JOBS + "/{job_id}"

router = Router()


@router.get(
    JOB,
    response={200: JobDetailSchema, **error_responses(ErrorCode.NOT_FOUND)},
    summary="Get one job",
    url_name="job",
    tags=["Jobs"],
)
def get_job(request: HttpRequest, job_id: str) -> JobDetailSchema:
    """The job's record, its links and its current state.

    `progress` is the data of `pipeline_progress`, `state` that of `job_state`.
    """
    return describe_job_in_detail(_snapshot(request, job_id), database_now())


@router.get(
    JOB + "/snapshot",
    response={200: PipelineProgressEventData, 304: None, **error_responses(ErrorCode.NOT_FOUND)},
    summary="The newest progress as plain JSON",
    url_name="job_snapshot",
    tags=["Progress"],
)
def get_snapshot(request: HttpRequest, job_id: str) -> HttpResponse:
    """Exactly the data of the stream's newest `pipeline_progress`, for polling.

    Send the `ETag` back in `If-None-Match`: without changes the response is an empty 304, at the
    cost of one small query. Elapsed time (`elapsed_ms`, `duration_ms`) does not change the ETag.
    """
    job = job_or_404(request, job_id)
    response = HttpResponse(content_type="application/json")
    # Weak: two bodies of one revision differ in their elapsed times.
    response["ETag"] = f'W/"{job.version}"'
    response["Cache-Control"] = "no-cache"
    conditional = get_conditional_response(request, etag=response["ETag"], response=response)
    if conditional is not None and conditional is not response:
        return conditional
    snapshot = load_snapshots([job])[job.id]
    response.content = snapshot.progress(database_now()).model_dump_json()
    return response


@router.get(
    JOB + "/events",
    response={
        200: JobEventListSchema,
        **error_responses(ErrorCode.NOT_FOUND, ErrorCode.INVALID_REQUEST),
    },
    summary="A job's log",
    url_name="job_events",
    tags=["Jobs"],
)
def list_job_events(
    request: HttpRequest, job_id: str, query: Query[JobEventListQuery]
) -> JobEventListSchema:
    """The entries of the job's log, the oldest first."""
    events = query.of(job_or_404(request, job_id))
    return JobEventListSchema(
        items=[JobEventSchema.model_validate(event) for event in query.page(events)],
        total=events.count(),
        limit=query.limit,
        offset=query.offset,
    )


@router.post(
    JOB + "/cancellation",
    response={202: JobSchema, **error_responses(ErrorCode.NOT_FOUND, ErrorCode.JOB_FINISHED)},
    summary="Stop a job",
    url_name="job_cancellation",
    tags=["Jobs"],
    auth=MayStart(),
)
def cancel_job(request: HttpRequest, job_id: str) -> Status[JobSchema]:
    """Asks a running job to stop at its next step. Cancels a queued job immediately."""
    tracker.request_cancellation(_found_id(request, job_id), by=permissions.user_name_of(request))
    return Status(202, describe_job(_snapshot(request, job_id, by_token=False), database_now()))


class RetryRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    only: RetryScope = Field(
        default=RetryScope.ALL,
        description="What a job that succeeded repeats: everything, or only its failed items. Any "
        "other job continues where it stopped.",
    )


@router.post(
    JOB + "/retry",
    response={
        202: JobSchema,
        **error_responses(
            ErrorCode.BAD_REQUEST,
            ErrorCode.NOT_FOUND,
            ErrorCode.NOT_REPEATABLE,
            ErrorCode.INVALID_REQUEST,
        ),
    },
    summary="Start a job again",
    url_name="job_retry",
    tags=["Jobs"],
    auth=MayStart(),
)
def retry_job(
    request: HttpRequest, job_id: str, wanted: RetryRequest | None = None
) -> Status[JobSchema]:
    """Queues the next attempt of a job that has ended or is lost. The body is optional.

    The job keeps its id, log and URL. Its stream sends `next_attempt` until the attempt starts.
    """
    only = (wanted or RetryRequest()).only
    recovery.retry_job(_found_id(request, job_id), only=only, by=permissions.user_name_of(request))
    return Status(202, describe_job(_snapshot(request, job_id, by_token=False), database_now()))


@router.delete(
    JOB,
    response={204: None, **error_responses(ErrorCode.NOT_FOUND, ErrorCode.JOB_RUNNING)},
    summary="Delete a job that is not running",
    url_name="job",
    tags=["Jobs"],
    auth=MayStart(),
)
def delete_job(request: HttpRequest, job_id: str) -> Status[None]:
    """Deletes the job's record and its log for good. Cancel a running job first."""
    tracker.delete_job(_found_id(request, job_id))
    return Status(204, None)


def _valid_id(job_id: str) -> str:
    """The id. Raises JobNotFound for an invalid one, which the database may not accept."""
    try:
        return clean_job_id(job_id)
    except InvalidJobId:
        raise JobNotFound(job_id) from None


def _found_id(request: HttpRequest, job_id: str) -> str:
    """The id. Raises JobNotFound for an invalid one, and for a job that is hidden from the user."""
    if permissions.is_hidden(request, _valid_id(job_id), by_token=False):
        raise JobNotFound(job_id)
    return job_id


def job_or_404(request: HttpRequest, job_id: str, *, by_token: bool = True) -> Job:
    jobs = permissions.jobs_for(request, by_token=by_token)
    job = jobs.filter(pk=_valid_id(job_id)).first()
    if job is None:
        raise JobNotFound(job_id)
    return job


def _snapshot(request: HttpRequest, job_id: str, *, by_token: bool = True) -> Snapshot:
    job = job_or_404(request, job_id, by_token=by_token)
    return load_snapshots([job])[job.id]
