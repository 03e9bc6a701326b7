"""The list of jobs with its filters."""

from typing import Annotated, Literal

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ingestion_progress.api.errors import error_responses
from ingestion_progress.api.pages import CURSOR, ListQuery, ListSchema, cursor_schema, read_page
from ingestion_progress.api.schemas import (
    AboutText,
    JobSchema,
    OptionalId,
    ResultName,
    StatusName,
    describe_job,
    split_commas,
)
from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.models.about import About
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.job_orders import JobOrder
from ingestion_progress.models.job_search import MAX_SEARCHED
from ingestion_progress.models.jobs import Job, JobQuerySet
from ingestion_progress.models.pagination import INVALID_CURSOR
from ingestion_progress.wire.snapshots import load_snapshots

JOBS = "/admin/ingestion/jobs"
OrderName = Literal["newest", "oldest", "longest", "shortest", "name"]
OTHER_ORDER = "The cursor is of a list in another order."
# The time of creation and the id, after what else the jobs are sorted by.
JobCursorText = Annotated[
    str, cursor_schema(r"(?:n[A-Za-z0-9_-]{0,1360}\.|d[0-9]{16}\.)?", max_length=1 + 1360 + 1)
]

router = Router()


class JobListQuery(ListQuery):
    status: Annotated[list[StatusName], BeforeValidator(split_commas)] = Field(
        default=[], description="Only these statuses: repeated or comma-separated."
    )
    result: Annotated[list[ResultName], BeforeValidator(split_commas)] = Field(
        default=[],
        description="Only these results: repeated or comma-separated. `partial` is a success with "
        "failed items, which `succeeded` leaves out.",
    )
    batch: OptionalId = Field(default=None, description="Only the jobs of this batch.")
    about: AboutText = Field(
        default="", description="Only the jobs about this object: `app.model:id`."
    )
    owner: str = Field(
        default="",
        max_length=255,
        description="Only the jobs of this user: a primary key, or `me` for the user of the login "
        "or of the token.",
    )
    sort: OrderName = Field(
        default="newest",
        validate_default=True,
        description="`newest` and `oldest`: by time of creation. `longest` and `shortest`: by "
        "duration, of jobs that have ended. `name`: by name of the document, A to Z. The last "
        f"three sort the jobs that are among the newest {MAX_SEARCHED:,}.",
    )
    cursor: JobCursorText = Field(default="", description=CURSOR)

    @field_validator("cursor")
    @classmethod
    def is_a_cursor(cls, cursor: str) -> str:
        if cursor and not any(_has_cursor(order, cursor) for order in JobOrder):
            raise PydanticCustomError("cursor", INVALID_CURSOR)
        return cursor

    @field_validator("sort")
    @classmethod
    def is_order_of_the_cursor(cls, sort: OrderName, info: ValidationInfo) -> OrderName:
        cursor = info.data.get("cursor")
        if cursor and not _has_cursor(JobOrder(sort), cursor):
            raise PydanticCustomError("sort", OTHER_ORDER)
        return sort


def _has_cursor(order: JobOrder, cursor: str) -> bool:
    try:
        order.ordering.after(Job.objects.none(), cursor)
    except ValueError:
        return False
    return True


class JobListSchema(ListSchema[JobSchema]):
    """Jobs, newest first unless `sort` says otherwise."""


@router.get(
    JOBS,
    response={200: JobListSchema, **error_responses(ErrorCode.INVALID_REQUEST)},
    summary="List jobs",
    url_name="jobs",
    tags=["Jobs"],
)
def list_jobs(request: HttpRequest, query: Query[JobListQuery]) -> JobListSchema:
    """One page of jobs with their progress, the newest first unless `sort` says otherwise.

    `total` counts the jobs that match `status`, `result`, `batch`, `owner` and `about`, up to
    10,000. `offset` leads as far; `cursor` leads to jobs of any age, at the same cost.
    """
    order = JobOrder(query.sort)
    jobs = order.listed(_matching(request, query))
    page, fields = read_page(query, *jobs, order=order.ordering)
    now = database_now()
    snapshots = load_snapshots(page.rows, with_workers=False)
    items = [describe_job(each, now) for each in snapshots.values()]
    return JobListSchema(items=items, **fields)


def _matching(request: HttpRequest, query: JobListQuery) -> list[JobQuerySet]:
    """A list for each status or result: each is a range of an index."""
    jobs = permissions.jobs_for(request)
    if query.owner:
        jobs = jobs.owned_by(permissions.chosen_user_id(request, query.owner))
    if query.about:
        jobs = jobs.filter(About.parse(query.about).condition)
    if query.batch:
        jobs = jobs.of_batch(query.batch)
    if query.result:
        found = [jobs.with_result(result) for result in sorted(set(query.result))]
        return [each.filter(status__in=query.status) if query.status else each for each in found]
    return [jobs.filter(status=status) for status in sorted(set(query.status))] or [jobs]
