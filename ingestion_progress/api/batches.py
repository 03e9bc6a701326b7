"""Operations on batches: list, create, change, cancel, retry, delete."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from ninja import Query, Router, Status
from pydantic import BaseModel, ConfigDict, Field

from ingestion_progress import recovery
from ingestion_progress.api.auth import MayStartInBatches
from ingestion_progress.api.errors import ApiError, error_responses
from ingestion_progress.api.pages import ListQuery, ListSchema, read_page
from ingestion_progress.api.schemas import BodyId, OwnerSchema
from ingestion_progress.auth import permissions, quotas
from ingestion_progress.auth.batches import batch_for, batches_for, is_whole
from ingestion_progress.exceptions import ErrorCode, InvalidBatch
from ingestion_progress.models import Batch
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.recovery import RetryScope
from ingestion_progress.tracker.batches import change_batch, create_batch
from ingestion_progress.tracker.plan import MAX_SMALL_COUNT
from ingestion_progress.wire.batches import BatchProgressSchema, batch_progress

BATCHES = "/admin/ingestion/batches"
BATCH = BATCHES + "/{batch_id}"
MAX_REASONS = 50

router = Router()


class BatchListQuery(ListQuery):
    owner: str = Field(
        default="",
        max_length=255,
        description="Only the batches of this user: a primary key, or `me`.",
    )


class BatchLinksSchema(BaseModel):
    batch: str = Field(description="The batch as JSON.")
    jobs: str = Field(description="Its jobs as JSON.")
    progress: str = Field(description="The stream of its jobs.")
    page: str = Field(description="Its live page.")


class BatchSchema(BaseModel):
    """Jobs that belong together."""

    batch_id: str
    name: str = Field(description="May be empty.")
    owner: OwnerSchema | None = Field(description="null for a batch that belongs to nobody.")
    max_running: int = Field(ge=0, description="Jobs that may run at the same time; 0: no limit.")
    created_at: datetime
    progress: BatchProgressSchema
    links: BatchLinksSchema


class BatchListSchema(ListSchema[BatchSchema]):
    """Batches, newest first."""


class BatchChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, max_length=255, description="Default: unchanged.")
    max_running: int | None = Field(
        default=None,
        ge=0,
        le=MAX_SMALL_COUNT,
        strict=True,
        description="0: no limit. Default: unchanged.",
    )


class BatchRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    batch_id: BodyId = Field(default="", description="Default: a random id.")
    name: str = Field(default="", max_length=255)
    max_running: int = Field(
        default=0,
        ge=0,
        le=MAX_SMALL_COUNT,
        strict=True,
        description="Jobs that may run at the same time.",
    )


class BatchRetryRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    only: RetryScope = Field(
        default=RetryScope.ALL,
        description="`failed`: also the failed items of jobs that succeeded.",
    )


class RefusedJobSchema(BaseModel):
    job_id: str
    reason: str


class BatchActionSchema(BaseModel):
    changed: int = Field(ge=0, description="Number of jobs that were cancelled or queued again.")
    refused: int = Field(ge=0, description="Number of jobs that could not be changed.")
    reasons: list[RefusedJobSchema] = Field(description=f"Why, for the first {MAX_REASONS}.")
    batch: BatchSchema


class BatchDeletionSchema(BaseModel):
    deleted: int = Field(ge=0, description="Number of jobs that were deleted.")
    left: int = Field(ge=1, description="Number of jobs that the next request continues with.")


@router.get(
    BATCHES,
    response={200: BatchListSchema, **error_responses(ErrorCode.INVALID_REQUEST)},
    summary="List batches, newest first",
    url_name="batches",
    tags=["Batches"],
)
def list_batches(request: HttpRequest, query: Query[BatchListQuery]) -> BatchListSchema:
    """One page of batches with their progress and their forecasts, as jobs are listed."""
    batches = batches_for(request)
    if query.owner:
        owner_id = permissions.chosen_user_id(request, query.owner)
        batches = batches.none() if owner_id is None else batches.filter(owner_id=owner_id)
    page, fields = read_page(query, batches)
    progress = batch_progress(permissions.jobs_for(request), page.rows)
    items = [_described(each, progress[each.pk]) for each in page.rows]
    return BatchListSchema(items=items, **fields)


@router.post(
    BATCHES,
    response={
        201: BatchSchema,
        **error_responses(ErrorCode.BATCH_EXISTS, ErrorCode.BAD_REQUEST, ErrorCode.INVALID_REQUEST),
        **error_responses(ErrorCode.TOO_MANY_REQUESTS),
    },
    summary="Create a batch",
    url_name="batches",
    tags=["Batches"],
    auth=MayStartInBatches(),
)
def new_batch(request: HttpRequest, wanted: BatchRequest) -> Status[BatchSchema]:
    """Pass its `batch_id` as `batch` with each upload. A batch that is not created in advance is
    created with its first job: named by `batch_name`, and without a limit.
    Counts as an upload.
    """
    quotas.count(request, quotas.UPLOADS)
    try:
        batch = create_batch(
            wanted.name,
            batch_id=wanted.batch_id or None,
            owner=permissions.user_of(request),
            max_running=wanted.max_running,
        )
    except InvalidBatch as invalid:
        raise ApiError(ErrorCode.INVALID_REQUEST, str(invalid)) from invalid
    return Status(201, _described(batch, BatchProgressSchema()))


@router.get(
    BATCH,
    response={200: BatchSchema, **error_responses(ErrorCode.NOT_FOUND)},
    summary="Get one batch",
    url_name="batch",
    tags=["Batches"],
)
def get_batch(request: HttpRequest, batch_id: str) -> BatchSchema:
    """The batch with the numbers of its jobs by result, its own percentage and its forecast."""
    return _current(request, batch_id, by_token=True)


@router.patch(
    BATCH,
    response={
        200: BatchSchema,
        **error_responses(ErrorCode.NOT_FOUND, ErrorCode.BAD_REQUEST, ErrorCode.INVALID_REQUEST),
    },
    summary="Rename or limit a batch",
    url_name="batch",
    tags=["Batches"],
    auth=MayStartInBatches(),
)
def update_batch(request: HttpRequest, batch_id: str, change: BatchChange) -> BatchSchema:
    """Changes what is given. Jobs that run already continue if the limit is lower."""
    _check_is_whole(request, batch_id)
    change_batch(batch_id, name=change.name, max_running=change.max_running)
    return _current(request, batch_id, by_token=False)


@router.post(
    BATCH + "/cancellation",
    response={202: BatchActionSchema, **error_responses(ErrorCode.NOT_FOUND)},
    summary="Stop the jobs of a batch",
    url_name="batch_cancellation",
    tags=["Batches"],
    auth=MayStartInBatches(),
)
def cancel_jobs_of_batch(request: HttpRequest, batch_id: str) -> Status[BatchActionSchema]:
    """Cancels queued jobs immediately, and asks running jobs to stop at their next step."""
    found = _jobs(request, batch_id)
    result = recovery.cancel_batch(found, by=permissions.user_name_of(request))
    return Status(202, _result(request, batch_id, result))


@router.post(
    BATCH + "/retry",
    response={
        202: BatchActionSchema,
        **error_responses(ErrorCode.NOT_FOUND, ErrorCode.BAD_REQUEST, ErrorCode.INVALID_REQUEST),
    },
    summary="Start failed jobs of a batch again",
    url_name="batch_retry",
    tags=["Batches"],
    auth=MayStartInBatches(),
)
def retry_jobs_of_batch(
    request: HttpRequest, batch_id: str, wanted: BatchRetryRequest | None = None
) -> Status[BatchActionSchema]:
    """Queues the next attempt of each job that failed or was lost. The body is optional."""
    only = (wanted or BatchRetryRequest()).only
    found = _jobs(request, batch_id)
    result = recovery.retry_batch(found, only=only, by=permissions.user_name_of(request))
    return Status(202, _result(request, batch_id, result))


@router.delete(
    BATCH,
    response={
        202: BatchDeletionSchema,
        204: None,
        **error_responses(ErrorCode.NOT_FOUND, ErrorCode.BATCH_ACTIVE),
    },
    summary="Delete a batch with its jobs",
    url_name="batch",
    tags=["Batches"],
    auth=MayStartInBatches(),
)
def remove_batch(request: HttpRequest, batch_id: str) -> Status[None] | Status[BatchDeletionSchema]:
    """Deletes the batch, and the records and logs of its jobs, for good. Cancel them first.

    After 5 seconds the answer is 202 with the number of jobs that are left. Send the request again
    until it is 204.
    """
    _check_is_whole(request, batch_id)
    done = recovery.delete_batch(batch_id, seconds=recovery.DELETE_SECONDS)
    if done.left:
        return Status(202, BatchDeletionSchema(deleted=done.deleted, left=done.left))
    return Status(204, None)


def _jobs(request: HttpRequest, batch_id: str) -> JobQuerySet:
    """The visible jobs of the batch. Raises BatchNotFound."""
    batch_for(request, batch_id, by_token=False)
    return permissions.jobs_for(request, by_token=False).of_batch(batch_id)


def _check_is_whole(request: HttpRequest, batch_id: str) -> None:
    """Raises BatchNotFound, or ApiError (403) if jobs of the batch are hidden from the user."""
    batch = batch_for(request, batch_id, by_token=False)
    if not is_whole(request, batch, by_token=False):
        raise ApiError(ErrorCode.FORBIDDEN)


def _current(request: HttpRequest, batch_id: str, *, by_token: bool) -> BatchSchema:
    batch = batch_for(request, batch_id, by_token=by_token)
    jobs = permissions.jobs_for(request, by_token=by_token)
    return _described(batch, batch_progress(jobs, [batch])[batch.pk])


def _described(batch: Batch, progress: BatchProgressSchema) -> BatchSchema:
    query = urlencode({"batch": batch.pk})
    return BatchSchema(
        batch_id=batch.pk,
        name=batch.name,
        owner=OwnerSchema.of(batch),
        max_running=batch.max_running,
        created_at=batch.created_at,
        progress=progress,
        links=BatchLinksSchema(
            batch=reverse("ingestion_progress:api:batch", args=[batch.pk]),
            jobs=f"{reverse('ingestion_progress:api:jobs')}?{query}",
            progress=f"{reverse('ingestion_progress:jobs_progress')}?{query}",
            page=f"{reverse('ingestion_progress:job_list')}?{query}",
        ),
    )


def _result(request: HttpRequest, batch_id: str, result: recovery.BatchResult) -> BatchActionSchema:
    reasons = list(result.refused.items())[:MAX_REASONS]
    return BatchActionSchema(
        changed=result.changed,
        refused=len(result.refused),
        reasons=[RefusedJobSchema(job_id=key, reason=str(each)) for key, each in reasons],
        batch=_current(request, batch_id, by_token=False),
    )
