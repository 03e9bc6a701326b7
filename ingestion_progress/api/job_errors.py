"""Operations on the errors of a job: list, export, resolution."""

import csv
from datetime import datetime
from io import StringIO
from typing import Any, Literal

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, ConfigDict, Field

from ingestion_progress import tracker
from ingestion_progress.api.auth import MayStart
from ingestion_progress.api.errors import error_responses
from ingestion_progress.api.jobs import JOB, job_or_404
from ingestion_progress.api.schemas import PageQuery
from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.models import JobError
from ingestion_progress.models.errors import JobErrorQuerySet

ERRORS = JOB + "/errors"
RESOLUTION = ERRORS + "/{error_id}/resolution"
CSV_TYPE = "text/csv; charset=utf-8"
COLUMNS = ("stage", "kind", "message", "count", "attempt", "first_at", "last_at")
# A cell that begins with one of these, perhaps after white space, is a formula.
FORMULA_STARTS = ("=", "+", "-", "@")

router = Router()


class JobErrorQuery(PageQuery):
    resolved: bool | None = Field(
        default=None, description="Only groups that are resolved, or only those that are not."
    )
    format: Literal["json", "csv"] = Field(
        default="json", description="`csv`: a table of all groups, without pages."
    )


class JobErrorItemSchema(BaseModel):
    item: str = Field(description="The page or chunk concerned; may be empty.")
    message: str = Field(description="The whole text.")
    attempt: int


class JobErrorSchema(BaseModel):
    """Errors of a job that differ in their items and numbers only."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    stage: str = Field(description="Empty if the job itself failed.")
    kind: str = Field(description="Given by the task, or the exception's class; may be empty.")
    message: str = Field(description="With placeholders, such as `<n>`, for variable parts.")
    count: int = Field(ge=1, description="In all attempts.")
    attempt: int = Field(ge=1, description="The latest attempt in which it occurred.")
    first_at: datetime
    last_at: datetime
    examples: list[JobErrorItemSchema] = Field(description="The first items, at most five.")
    resolved_at: datetime | None = Field(description="null while it is open.")
    resolved_by: str = Field(description="A user; empty for an anonymous one.")


class JobErrorListSchema(BaseModel):
    items: list[JobErrorSchema]
    total: int = Field(ge=0)
    limit: int
    offset: int


@router.get(
    ERRORS,
    response={
        200: JobErrorListSchema,
        **error_responses(ErrorCode.NOT_FOUND, ErrorCode.INVALID_REQUEST),
    },
    summary="A job's errors, grouped",
    url_name="job_errors",
    tags=["Jobs"],
    openapi_extra={"responses": {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}},
)
def list_job_errors(request: HttpRequest, job_id: str, query: Query[JobErrorQuery]) -> Any:
    """Groups of errors of one stage, kind and message, the most frequent first.

    A job has at most 101 groups. An error that occurs again opens its resolved group.
    """
    errors = JobError.objects.filter(job=job_or_404(request, job_id)).order_by("-count", "id")
    if query.resolved is not None:
        errors = errors.filter(resolved_at__isnull=not query.resolved)
    if query.format == "csv":
        return HttpResponse(csv_of(errors), content_type=CSV_TYPE)
    return JobErrorListSchema(
        items=[JobErrorSchema.model_validate(error) for error in errors[query.slice]],
        total=errors.count(),
        limit=query.limit,
        offset=query.offset,
    )


@router.post(
    RESOLUTION,
    response={
        200: JobErrorSchema,
        **error_responses(ErrorCode.NOT_FOUND, ErrorCode.INVALID_REQUEST),
    },
    summary="Mark errors as resolved",
    url_name="job_error_resolution",
    tags=["Jobs"],
    auth=MayStart(),
)
def resolve_job_error(request: HttpRequest, job_id: str, error_id: int) -> JobErrorSchema:
    """Stores who resolved the group, and when. Changes nothing if it is resolved already."""
    job_or_404(request, job_id, by_token=False)
    tracker.resolve_error(job_id, error_id, by=permissions.user_name_of(request))
    error = JobError.objects.filter(job_id=job_id, pk=error_id).first()
    if error is None:
        raise Http404
    return JobErrorSchema.model_validate(error)


@router.delete(
    RESOLUTION,
    response={204: None, **error_responses(ErrorCode.NOT_FOUND, ErrorCode.INVALID_REQUEST)},
    summary="Open resolved errors again",
    url_name="job_error_resolution",
    tags=["Jobs"],
    auth=MayStart(),
)
def reopen_job_error(request: HttpRequest, job_id: str, error_id: int) -> Status[None]:
    """Opens the group again, and clears who resolved it and when."""
    job_or_404(request, job_id, by_token=False)
    if not tracker.reopen_error(job_id, error_id):
        raise Http404
    return Status(204, None)


def csv_of(errors: JobErrorQuerySet) -> str:
    """A table with a line for each group, for spreadsheets: no cell is a formula."""
    text = StringIO()
    table = csv.writer(text)
    table.writerow([*COLUMNS, "resolved_at", "resolved_by", "items", "example"])
    for error in errors:
        items = "; ".join(filter(None, (each["item"] for each in error.examples)))
        example = error.examples[0]["message"] if error.examples else ""
        resolved_at = error.resolved_at and error.resolved_at.isoformat()
        cells = [getattr(error, name) for name in COLUMNS]
        table.writerow(map(cell, [*cells, resolved_at, error.resolved_by, items, example]))
    return text.getvalue()


def cell(value: object) -> object:
    """The value, with an apostrophe before text that a spreadsheet would calculate."""
    if isinstance(value, datetime):
        return value.isoformat()
    is_formula = isinstance(value, str) and value.lstrip().startswith(FORMULA_STARTS)
    return f"'{value}" if is_formula else value
