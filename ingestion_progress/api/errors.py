"""Errors of the API: every response with an error status is JSON of one shape.

`{"code": "job_exists", "message": "Job a exists and is running. …"}`, without internals.
`exceptions.ErrorCode` lists the codes with their statuses and default messages. An exception of
the app that has a code becomes an error with its own text, any other one the default message.

Messages are in English, for programs. Scripts of the pages get them in the language of the reader.
"""

import errno
import functools
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.utils import translation
from django.utils.log import log_response
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from pydantic import BaseModel, Field

from ingestion_progress.exceptions import DATABASE_UNAVAILABLE, ErrorCode, IngestionProgressError
from ingestion_progress.exceptions.sentences import Sentence, translated

LANGUAGE = "en"
# What scripts of the pages send; no other page can without permission of the server.
PAGE_HEADER = ("X-Requested-With", "fetch")

# Errors with a status from 500 are logged.
OTHER_ERRORS: Mapping[type[Exception], ErrorCode] = {
    Http404: ErrorCode.NOT_FOUND,
    PermissionDenied: ErrorCode.FORBIDDEN,
    AuthenticationError: ErrorCode.UNAUTHORIZED,
    HttpError: ErrorCode.BAD_REQUEST,
    BadRequest: ErrorCode.BAD_REQUEST,
    SuspiciousOperation: ErrorCode.BAD_REQUEST,
    MultiPartParserError: ErrorCode.BAD_REQUEST,
    UnreadablePostError: ErrorCode.BAD_REQUEST,
    **dict.fromkeys(DATABASE_UNAVAILABLE, ErrorCode.UNAVAILABLE),
    Exception: ErrorCode.SERVER_ERROR,
}
DOCUMENTED = [code for code in ErrorCode if code.area == "api"]


class FieldErrorSchema(BaseModel):
    field: str = Field(description="The parameter concerned.")
    message: str


class ErrorSchema(BaseModel):
    """The body of every response with an error status."""

    code: str = Field(
        description="Stable, for programs.",
        json_schema_extra={"enum": [code.value for code in DOCUMENTED]},
    )
    message: str = Field(description="The fact and the remedy, for people.")
    errors: list[FieldErrorSchema] | None = Field(
        default=None, description="With `invalid_request`: one entry per parameter."
    )
    limit_bytes: int | None = Field(default=None, description="With `too_large`: the limit.")


class ApiError(Exception):
    """Becomes the response when an operation raises it."""

    def __init__(self, code: ErrorCode, message: str = "", **details: Any) -> None:
        self.code = code
        self.message = message or code.message
        self.details = details
        super().__init__(self.message)

    def response(
        self, headers: Mapping[str, str] | None = None, *, request: HttpRequest | None = None
    ) -> JsonResponse:
        """`request`: the message is in its language, if it is from a page."""
        with translation.override(language_of(request) if request else LANGUAGE):
            message = str(translated(self.message))
        body = ErrorSchema(code=self.code.value, message=message, **self.details)
        return JsonResponse(
            body.model_dump(exclude_none=True), status=self.code.status, headers=headers
        )


def language_of(request: HttpRequest) -> str:
    """The language of the reader for scripts of the pages, and English for all others."""
    name, value = PAGE_HEADER
    is_from_page = request.headers.get(name) == value
    return translation.get_language_from_request(request) if is_from_page else LANGUAGE


def error_responses(*codes: ErrorCode) -> dict[int, type[ErrorSchema]]:
    """The error statuses of an operation: those of the codes, and those of every operation."""
    always = (ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN, ErrorCode.SERVER_ERROR)
    return {code.status: ErrorSchema for code in (*codes, *always)}


def error_response_docs(status: int) -> dict[str, Any]:
    """An error response in the OpenAPI document: the codes that have this status."""
    codes = [code for code in DOCUMENTED if code.status == status]
    return {
        "description": " ".join(f"`{code}`: {code.message}" for code in codes),
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{ErrorSchema.__name__}"},
                "example": {"code": codes[0].value, "message": codes[0].message},
            }
        },
    }


def add_error_handlers(api: NinjaAPI) -> None:
    api.add_exception_handler(ApiError, _api_error)
    api.add_exception_handler(ValidationError, _invalid_request)
    api.add_exception_handler(IngestionProgressError, _own_error)
    api.add_exception_handler(OSError, _os_error)
    for exception, code in OTHER_ERRORS.items():
        api.add_exception_handler(exception, functools.partial(_other_error, code=code))


def _api_error(request: HttpRequest, exc: Any) -> Any:
    return exc.response(request=request)


def _os_error(request: HttpRequest, exc: Any) -> HttpResponse:
    """Django stores a large body in a temporary file before the operation begins."""
    is_full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
    code = ErrorCode.STORAGE_FULL if is_full else ErrorCode.SERVER_ERROR
    return _other_error(request, exc, code)


def _own_error(request: HttpRequest, exc: Any) -> HttpResponse:
    if exc.code is ErrorCode.SERVER_ERROR:
        return _other_error(request, exc, exc.code)
    headers = getattr(exc, "headers", None)
    return ApiError(exc.code, exc.sentence).response(headers, request=request)


def _other_error(request: HttpRequest, exc: Any, code: ErrorCode) -> HttpResponse:
    response = ApiError(code).response(request=request)
    if code.status >= 500:
        # Django does this for an unhandled exception; error trackers listen to the signal.
        got_request_exception.send(sender=NinjaAPI, request=request)
        log_response(
            "Internal Server Error: %s",
            request.path,
            response=response,
            request=request,
            exception=exc,
        )
    return response


def _invalid_request(request: HttpRequest, exc: Any) -> HttpResponse:
    errors = [
        FieldErrorSchema(field=_field(error["loc"]), message=error["msg"]) for error in exc.errors
    ]
    message = "; ".join(f"{error.field}: {error.message}" for error in errors)
    if language_of(request) != LANGUAGE:
        message = invalid_value(errors[0].field, exc.errors[0])
    return ApiError(ErrorCode.INVALID_REQUEST, message, errors=errors).response(request=request)


def invalid_value(name: str, error: Mapping[str, Any]) -> Sentence:
    """What is wrong with a value; pydantic's own texts have no translation."""
    match error["type"]:
        case "string_too_long":
            limit = error["ctx"]["max_length"]
            return Sentence("%(name)s: at most %(limit)s characters.", name=name, limit=limit)
        case "words":
            return Sentence("%(name)s: 1 or more characters, and no control characters.", name=name)
        case _:
            return Sentence("%(name)s: this value is not valid.", name=name)


def _field(location: tuple[str | int, ...]) -> str:
    """`status.0` from `("query", "query", "status", 0)` or from `("query", "status", 0)`.

    The first part is the place of the field; ninja adds the argument's name to some of them.
    """
    parts = location[1:]
    if len(parts) > 1 and parts[0] in {"query", "form", "wanted"}:
        parts = parts[1:]
    return ".".join(map(str, parts))
