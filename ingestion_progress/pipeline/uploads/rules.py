"""The size limit and the permission of uploads, and the responses to refused ones."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext

from ingestion_progress.api.errors import ApiError
from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.exceptions.sentences import Sentence, translated
from ingestion_progress.extensions import view_name
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.web import formatting, views
from ingestion_progress.wire.asgi_types import Scope

OPERATION = "ingestion_progress:api:jobs"
FORM = "ingestion_progress:job_list"

MEBIBYTE = 1024 * 1024
# The room for the rest of a multipart body: boundaries, names and the other fields.
MULTIPART_OVERHEAD_BYTES = 64 * 1024


class DocumentUploadRules:
    """Implements `extensions.UploadRules` for the API and the form on the page."""

    def limit_for(self, scope: Scope) -> int | None:
        is_upload = scope["method"] == "POST" and view_name(scope) in {OPERATION, FORM}
        return max_body_bytes() if is_upload else None

    def may_upload(self, request: HttpRequest) -> bool:
        return permissions.may_start(request)

    def refusal(self, request: HttpRequest, code: ErrorCode, message: str) -> HttpResponse:
        if view_name(request.scope) == FORM:  # type: ignore[attr-defined]
            return _form_refusal(request, code, message)
        return api_refusal(request, code, message)


rules = DocumentUploadRules()


def max_body_bytes() -> int:
    """For a document, or all documents of a form, with the rest of the body."""
    return conf.max_upload_bytes + MULTIPART_OVERHEAD_BYTES


def api_refusal(request: HttpRequest, code: ErrorCode, message: str = "") -> HttpResponse:
    refused = too_large() if code is ErrorCode.TOO_LARGE else ApiError(code, message)
    return refused.response(request=request)


def too_large() -> ApiError:
    limit = conf.max_upload_bytes
    size = f"{limit / MEBIBYTE:g}"
    sentence = Sentence(
        "The document is larger than the limit of %(size)s MB (%(limit)s bytes).",
        size=size,
        limit=limit,
    )
    return ApiError(ErrorCode.TOO_LARGE, sentence, limit_bytes=limit)


def _form_refusal(request: HttpRequest, code: ErrorCode, message: str) -> HttpResponse:
    if code in {ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN}:
        return views.refusal(request)
    if code is ErrorCode.TOO_MANY_REQUESTS:
        return views.too_many_requests(request, str(translated(message)))
    if code is not ErrorCode.TOO_LARGE:  # no browser sends such a request
        return ApiError(code, message).response()
    size = formatting.file_size(conf.max_upload_bytes)
    text = gettext("The upload is larger than %(size)s, the limit for all documents of a form.")
    messages.error(request, text % {"size": size}, fail_silently=True)
    return redirect(FORM)
