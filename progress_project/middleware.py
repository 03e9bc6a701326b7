"""What every request of this deployment gets: static files, a log line, a strict policy.

Each is for a chain of either kind: `EventStreams` runs the whole of it in one thread.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeAlias

import structlog
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from servestatic.middleware import ServeStaticMiddleware
from servestatic.responders import MissingFileError

from ingestion_progress import tokens

AsyncView: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

logger = logging.getLogger(__name__)

# Nothing in our pages is inline, so the strict policy needs no exception; Django's
# `SECURE_CSP` does the same from 6.0 on.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",  # the admin's and the API docs' icons
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


@sync_and_async_middleware
def static_files(get_response: Any) -> Any:
    """A static file that does not exist is a 404 in development too, not a traceback."""
    if iscoroutinefunction(get_response):
        return _static_files(get_response)
    find_static_file = async_to_sync(_static_files(sync_to_async(get_response)))

    def find_if_static(request: HttpRequest) -> Any:
        is_static = request.path.startswith(settings.STATIC_URL)
        return find_static_file(request) if is_static else get_response(request)

    return find_if_static


def _static_files(get_response: AsyncView) -> AsyncView:
    serve = ServeStaticMiddleware(get_response)

    async def find_static_file(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase
        try:
            response = await serve(request)
        except MissingFileError:
            response = await get_response(request)
        return response

    return find_static_file


@sync_and_async_middleware
def request_log(get_response: Any) -> Any:
    """One line per request, without its query string: that is where tokens travel. None for a
    stream, which says itself when it starts and ends, or why it does not.

    A token is taken out of the URL before anything else could show or log it.

    What is logged while the request is handled, its stream included, shares the `request_id`.
    """
    if iscoroutinefunction(get_response):

        async def log_request_async(request: HttpRequest) -> HttpResponseBase:
            started = _begin(request)
            response: HttpResponseBase = await get_response(request)
            _log(request, response, started)
            return response

        return log_request_async

    def log_request(request: HttpRequest) -> HttpResponseBase:
        started = _begin(request)
        response: HttpResponseBase = get_response(request)
        _log(request, response, started)
        return response

    return log_request


def _begin(request: HttpRequest) -> float:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=uuid.uuid4().hex)
    with contextlib.suppress(SuspiciousOperation):  # whoever reads the query next refuses it
        tokens.presented(request)
    return time.perf_counter()


def _log(request: HttpRequest, response: HttpResponseBase, started: float) -> None:
    if getattr(response, "is_logged", False):
        return
    is_refused = HTTPStatus.BAD_REQUEST <= response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
    if is_refused:
        # Django's own line would say the same.
        response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001
    logger.log(
        logging.WARNING if is_refused else logging.INFO,
        "request_finished",
        extra={
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - started) * 1000),
            "client_ip": request.META.get("REMOTE_ADDR"),
        },
    )


@sync_and_async_middleware
def content_security_policy(get_response: Any) -> Any:
    """The policy on every response that does not bring one of its own."""
    if iscoroutinefunction(get_response):

        async def add_policy_async(request: HttpRequest) -> HttpResponseBase:
            response: HttpResponseBase = await get_response(request)
            _add_policy(response)
            return response

        return add_policy_async

    def add_policy(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = get_response(request)
        _add_policy(response)
        return response

    return add_policy


def _add_policy(response: HttpResponseBase) -> None:
    # Django's own pages for developers have their styles and scripts inline.
    if not (settings.DEBUG and response.status_code in (404, 500)):
        response.headers.setdefault("Content-Security-Policy", POLICY)
