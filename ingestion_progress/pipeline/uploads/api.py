"""The API operation that uploads a document and starts its job."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import File, Form, Router, Status
from ninja.decorators import decorate_view
from ninja.files import UploadedFile
from pydantic import BaseModel, Field

from ingestion_progress.api.auth import MayStart
from ingestion_progress.api.body_length import length_problem
from ingestion_progress.api.errors import ApiError, error_responses
from ingestion_progress.api.ids import FormId, OptionalId
from ingestion_progress.api.jobs import JOBS, SEEING
from ingestion_progress.api.schemas import CreatedJobSchema, describe_created_job
from ingestion_progress.pipeline import exceptions
from ingestion_progress.pipeline.exceptions import UploadTooLarge
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.pipeline.uploads.rules import api_refusal, max_body_bytes, too_large

# The error codes of exceptions whose text may be shown.
PUBLIC_ERRORS: dict[type[Exception], str] = {
    exceptions.UnreadableDocument: "unreadable_document",
    exceptions.EmptyDocument: "empty_document",
    exceptions.UnsupportedDocument: "unsupported_document",
    exceptions.DocumentTooLarge: "too_large",
    exceptions.TaskNotQueued: "unavailable",
    exceptions.DocumentNotStored: "unavailable",
    exceptions.VectorStoreUnavailable: "unavailable",
}

router = Router()

View = Callable[..., HttpResponseBase]


class UploadForm(BaseModel):
    job_id: FormId = Field(
        default=None,
        description="1 to 255 printable characters, no slash. Default: a random id.",
    )
    document_id: OptionalId = Field(
        default=None,
        description="The id of the document to replace. By default a document replaces the one "
        "of the same name.",
    )
    batch: OptionalId = Field(
        default=None,
        description="A name that several uploads share, to list and watch them together.",
    )


def limit_body(run: View) -> View:
    """Refuses a body by its declared length, for servers without `BodyLimit`."""

    @functools.wraps(run)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        problem = length_problem(
            request.META.get("CONTENT_LENGTH") or "",
            is_chunked="HTTP_TRANSFER_ENCODING" in request.META,
            limit_bytes=max_body_bytes(),
            must_declare=True,
        )
        return api_refusal(request, problem) if problem else run(request, *args, **kwargs)

    return limited


@router.post(
    JOBS,
    response={
        201: CreatedJobSchema,
        **error_responses(*SEEING, "bad_request", "invalid_request", *PUBLIC_ERRORS.values()),
        **error_responses("job_exists", "length_required"),
    },
    summary="Upload a document and start its ingestion",
    operation_id="create_job",
    url_name="jobs",
    tags=["Jobs"],
    auth=MayStart(),
    openapi_extra={
        "responses": {
            201: {
                "headers": {
                    "Location": {"description": "URL of the job.", "schema": {"type": "string"}}
                }
            }
        },
        "x-codeSamples": [
            {
                "lang": "Shell",
                "label": "curl",
                "source": f"curl -F file=@report.pdf http://localhost:8000/api/v1{JOBS}",
            }
        ],
    },
)
@decorate_view(limit_body)
def create_job(
    request: HttpRequest,
    response: HttpResponse,
    file: File[UploadedFile],
    form: Form[UploadForm],
) -> Status[CreatedJobSchema]:
    """Stores the document and queues its job. The response has the URLs to watch it.

    A document is refused if it is empty, has no parser, does not match its extension, or is a Word
    document that cannot be unpacked. Other problems, such as a password or 0 pages in a PDF, appear
    when the document is read: the job fails, and its `error` has the reason. The size limit is the
    setting `INGESTION_PROGRESS_MAX_UPLOAD_BYTES`.
    """
    if len(request.FILES.getlist("file")) > 1:
        raise ApiError("invalid_request", "file: send one document per request.")
    try:
        job = receive(
            file,
            name=file.name or "",
            job_id=form.job_id or None,
            document_id=form.document_id,
            batch=form.batch,
        )
    except UploadTooLarge as refused:  # this response has the limit as a number too
        raise too_large() from refused
    created = describe_created_job(job)
    response["Location"] = created.links.job
    return Status(201, created)
