"""Exceptions to responses, for every operation of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.utils.log import log_response
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from ingestion_progress.api.errors import ApiError, FieldErrorSchema
from ingestion_progress.exceptions import (
    DATABASE_AWAY,
    AccessRefused,
    InvalidJobId,
    InvalidTokenRequest,
    JobExists,
    JobNotFound,
    ProgressUnavailable,
    TokenKeyMissing,
)

Handler = Callable[[HttpRequest, Any], HttpResponse]

# Exceptions whose text may be shown, and the code they become.
SPEAKING: dict[type[Exception], str] = {
    JobNotFound: "not_found",
    JobExists: "job_exists",
    InvalidJobId: "invalid_job_id",
    ProgressUnavailable: "unavailable",
    InvalidTokenRequest: "invalid_request",
    TokenKeyMissing: "tokens_unavailable",
}
# Exceptions whose text may not be shown, or says nothing.
SILENT: dict[type[Exception], str] = {
    Http404: "not_found",
    PermissionDenied: "forbidden",
    AuthenticationError: "unauthorized",
    HttpError: "bad_request",
    BadRequest: "bad_request",
    SuspiciousOperation: "bad_request",
    MultiPartParserError: "bad_request",
    UnreadablePostError: "bad_request",
}
LOGGED: dict[type[Exception], str] = {
    **dict.fromkeys(DATABASE_AWAY, "unavailable"),
    Exception: "server_error",
}


def add_handlers(api: NinjaAPI) -> None:
    api.add_exception_handler(ApiError, _api_error)
    api.add_exception_handler(AccessRefused, _access_refused)
    api.add_exception_handler(ValidationError, _invalid_request)
    add_speaking(api, SPEAKING)
    for exception, code in SILENT.items():
        api.add_exception_handler(exception, _silent(code))
    for exception, code in LOGGED.items():
        api.add_exception_handler(exception, _logged(code))


def add_speaking(api: NinjaAPI, codes: Mapping[type[Exception], str]) -> None:
    """Exceptions whose text may be shown become errors with these codes."""
    for exception, code in codes.items():
        api.add_exception_handler(exception, _speaking(code))


def _api_error(_: HttpRequest, exc: Any) -> HttpResponse:
    response: HttpResponse = exc.response()
    return response


def _access_refused(_: HttpRequest, exc: Any) -> HttpResponse:
    return ApiError(exc.code).response()


def _speaking(code: str) -> Handler:
    return lambda _, exc: ApiError(code, str(exc)).response()


def _silent(code: str) -> Handler:
    return lambda _, __: ApiError(code).response()


def _logged(code: str) -> Handler:
    def handle(request: HttpRequest, exc: Exception) -> HttpResponse:
        # What Django itself does for an exception that nobody handled; error trackers listen.
        got_request_exception.send(sender=NinjaAPI, request=request)
        response = ApiError(code).response()
        log_response(
            "Internal Server Error: %s",
            request.path,
            response=response,
            request=request,
            exception=exc,
        )
        return response

    return handle


def _invalid_request(_: HttpRequest, exc: Any) -> HttpResponse:
    errors = [
        FieldErrorSchema(field=_field(error["loc"]), message=error["msg"]) for error in exc.errors
    ]
    message = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return ApiError("invalid_request", message, errors=errors).response()


def _field(location: tuple[str | int, ...]) -> str:
    """`status.0` from `("query", "query", "status", 0)` or from `("query", "status", 0)`.

    The first part says where the field was; ninja leaves the argument's name in some of them.
    """
    parts = location[1:]
    if len(parts) > 1 and parts[0] in {"query", "form", "wanted"}:
        parts = parts[1:]
    return ".".join(map(str, parts))
