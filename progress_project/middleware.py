"""What every request of this deployment gets: static files, a log line, a strict policy."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware
from servestatic.middleware import ServeStaticMiddleware
from servestatic.responders import MissingFileError

from ingestion_progress import tokens

GetResponse: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

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


@async_only_middleware
def static_files(get_response: GetResponse) -> GetResponse:
    """A static file that does not exist is a 404 in development too, not a traceback."""
    serve = ServeStaticMiddleware(get_response)

    async def find_static_file(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase
        try:
            response = await serve(request)
        except MissingFileError:
            response = await get_response(request)
        return response

    return find_static_file


@async_only_middleware
def request_log(get_response: GetResponse) -> GetResponse:
    """One line per request, without its query string: that is where tokens travel.

    A token is taken out of the URL before anything else could show or log it.

    What is logged while the request is handled, its stream included, shares the `request_id`.
    """

    async def log_request(request: HttpRequest) -> HttpResponseBase:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=uuid.uuid4().hex)
        started = time.perf_counter()
        with contextlib.suppress(SuspiciousOperation):  # whoever reads the query next refuses it
            tokens.presented(request)
        response = await get_response(request)
        logger.info(
            "request_finished",
            extra={
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
                "duration_ms": round((time.perf_counter() - started) * 1000),
                "client_ip": request.META.get("REMOTE_ADDR"),
            },
        )
        return response

    return log_request


@async_only_middleware
def content_security_policy(get_response: GetResponse) -> GetResponse:
    """The policy on every response that does not bring one of its own."""

    async def add_policy(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    return add_policy
