"""The operation of the API that takes a document and starts its job."""

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

# Exceptions whose text may be shown, and the code they become.
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
        description="1 to 255 printable characters, no slash. One that cannot be guessed is "
        "made where it is left out.",
    )
    document_id: OptionalId = Field(
        default=None,
        description="What the document replaces, and is replaced by. By default the same name "
        "is the same document.",
    )
    batch: OptionalId = Field(
        default=None,
        description="A name for uploads that belong together, to list and to watch them by.",
    )


def limit_body(run: View) -> View:
    """Refuses by its headers a body that is too long: not every server has `BodyLimit` in front."""

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
                    "Location": {
                        "description": "The job's address.",
                        "schema": {"type": "string"},
                    }
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
    """Keeps the document and queues its job; the answer says where to watch it.

    A document that is empty, not what its name says, or of a kind without a parser is refused, as
    is a Word document that cannot be unpacked; nothing of it is left behind. What shows only when
    a document is read, such as a password, a missing end or 0 pages in a PDF, fails its job, whose
    `error` says so. The limit is the setting `INGESTION_PROGRESS_MAX_UPLOAD_BYTES`.
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
    except UploadTooLarge as refused:  # this answer names the limit for programs too
        raise too_large() from refused
    created = describe_created_job(job)
    response["Location"] = created.links.job
    return Status(201, created)
