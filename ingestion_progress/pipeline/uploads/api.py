"""The API operation that uploads a document and starts its job."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import File, Form, Query, Router, Status
from ninja.decorators import decorate_view
from ninja.files import UploadedFile
from pydantic import BaseModel, BeforeValidator, Field

from ingestion_progress.api.auth import MayStart
from ingestion_progress.api.body_length import length_error
from ingestion_progress.api.errors import ApiError, error_responses
from ingestion_progress.api.job_list import JOBS
from ingestion_progress.api.schemas import (
    CreatedJobSchema,
    FormId,
    OptionalId,
    describe_created_job,
)
from ingestion_progress.auth import permissions, quotas
from ingestion_progress.auth.batches import may_join
from ingestion_progress.exceptions import ErrorCode, JobExists
from ingestion_progress.models import Job
from ingestion_progress.pipeline.exceptions import AlreadyIngested, UploadTooLarge
from ingestion_progress.pipeline.stages import LANGUAGE
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.pipeline.uploads.rules import api_refusal, max_body_bytes, too_large
from ingestion_progress.tracker.metadata import metadata_of

LOCATION = {"description": "URL of the job.", "schema": {"type": "string"}}
CURL = f"curl -F file=@report.pdf http://localhost:8000/api/v1{JOBS}"

router = Router()

View = Callable[..., HttpResponseBase]


class UploadForm(BaseModel):
    job_id: FormId = Field(
        default=None, description="1 to 255 printable characters, no slash. Default: a random id."
    )
    document_id: OptionalId = Field(
        default=None,
        description="The id of the document of which this is a version. By default it is the one "
        "of the same name.",
    )
    batch: OptionalId = Field(
        default=None,
        description="The id of a batch, to list and watch its uploads together.",
    )
    priority: int = Field(
        default=0, ge=-100, le=100, description="Jobs with a higher one are run first."
    )
    language: str = Field(
        default="",
        pattern=f"^({LANGUAGE})?$",
        description="The language of the text, by its code of ISO 639, as `de`. By default it is "
        "detected.",
    )
    batch_name: str = Field(
        default="", max_length=255, description="The name of the batch, with its first upload."
    )
    metadata: str = Field(
        default="",
        description="The project's own data about the job: a JSON object of at most 4 KB.",
        json_schema_extra={"format": "json", "contentMediaType": "application/json"},
    )


class UploadQuery(BaseModel):
    force: Annotated[bool, BeforeValidator(lambda text: text or True)] = Field(
        default=False, description="Ingest the document also if the same content is ingested."
    )


class UploadedDocumentSchema(CreatedJobSchema):
    is_known: bool = Field(
        description="The same content was uploaded before, and this is the job that ingests it or "
        "has ingested it."
    )


def limit_body(run: View) -> View:
    """Refuses a body by its declared length, for servers without `BodyLimit`."""

    @wraps(run)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        error = length_error(
            request.META.get("CONTENT_LENGTH") or "",
            is_chunked="HTTP_TRANSFER_ENCODING" in request.META,
            limit_bytes=max_body_bytes(),
            must_declare=True,
        )
        return api_refusal(request, error) if error else run(request, *args, **kwargs)

    return limited


@router.post(
    JOBS,
    response={
        200: UploadedDocumentSchema,
        201: UploadedDocumentSchema,
        **error_responses(ErrorCode.BAD_REQUEST, ErrorCode.INVALID_REQUEST),
        **error_responses(ErrorCode.JOB_EXISTS, ErrorCode.LENGTH_REQUIRED, ErrorCode.TOO_LARGE),
        **error_responses(ErrorCode.UNSUPPORTED_DOCUMENT, ErrorCode.TOO_MANY_REQUESTS),
        **error_responses(ErrorCode.UNAVAILABLE, ErrorCode.STORAGE_FULL),
    },
    summary="Upload a document and start its ingestion",
    url_name="jobs",
    tags=["Jobs"],
    auth=MayStart(),
    openapi_extra={
        "responses": {201: {"headers": {"Location": LOCATION}}},
        "x-codeSamples": [{"lang": "Shell", "label": "curl", "source": CURL}],
    },
)
@decorate_view(limit_body)
def create_job(
    request: HttpRequest,
    response: HttpResponse,
    file: File[UploadedFile],
    form: Form[UploadForm],
    query: Query[UploadQuery],
) -> Status[UploadedDocumentSchema]:
    """Stores the document and queues its job. The response has the URLs to watch it.

    A document of the same name gets a new version, which search shows when it is complete. If the
    same content is ingested already, nothing is stored: the response is a 200 with the job that did
    it or does it, and `is_known` is true. `?force=true` and a `job_id` ingest it anyway. Uploads of
    one batch that have one name and different contents are documents of their own.

    A document is refused if it is empty, has no parser, does not match its extension, or is a Word
    document that cannot be unpacked. Other problems, such as a password or 0 pages in a PDF, appear
    when the document is read: the job fails, and its `error` has the reason. The size limit is the
    setting `INGESTION_PROGRESS_MAX_UPLOAD_BYTES`. The job belongs to the user who is logged in.
    """
    if len(request.FILES.getlist("file")) > 1:
        raise ApiError(ErrorCode.INVALID_REQUEST, "file: send one document per request.")
    quotas.count(request, quotas.UPLOADS)
    try:
        job = receive(
            file,
            name=file.name or "",
            job_id=form.job_id or None,
            document_id=form.document_id,
            batch=form.batch,
            batch_name=form.batch_name,
            priority=form.priority,
            language=form.language,
            metadata=metadata_of(form.metadata),
            owner=permissions.user_of(request),
            may_join=partial(may_join, request),
            visible=permissions.visible_jobs(request, by_token=False),
            skips_known=not (query.force or form.job_id),
        )
    except AlreadyIngested as known:
        return Status(200, _described(known.job, response, is_known=True))
    except JobExists:
        if permissions.is_hidden(request, form.job_id or "", by_token=False):
            text = "This id of a job is taken. Choose another id, or leave it out to get one."
            raise ApiError(ErrorCode.JOB_EXISTS, text) from None
        raise
    except UploadTooLarge as refused:  # this response has the limit as a number too
        raise too_large() from refused
    return Status(201, _described(job, response))


def _described(
    job: Job, response: HttpResponse, *, is_known: bool = False
) -> UploadedDocumentSchema:
    created = describe_created_job(job)
    response["Location"] = created.links.job
    return UploadedDocumentSchema(**created.model_dump(), is_known=is_known)
