"""Middleware of this deployment: static files, a log line, a strict CSP, the reader's language.

Each works synchronously and asynchronously: `EventStreams` runs all middleware in one thread.
"""

import contextlib
import functools
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeAlias

import structlog
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.decorators import sync_and_async_middleware
from servestatic.middleware import ServeStaticMiddleware
from servestatic.responders import MissingFileError

from ingestion_progress.auth import permissions
from ingestion_progress.concurrency.compat.django import mark_as_logged

AsyncView: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponseBase]]
Finish: TypeAlias = Callable[[HttpResponseBase], object]

logger = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"
# What programs read is in one language.
API_PATH = "/api/"
API_LANGUAGE = "en"
# The pages have nothing inline, so the policy needs no exception. Django 6.0 has `SECURE_CSP` for
# the same; Django 5.2 has not.
POLICY = (
    "default-src 'self'; "
    "img-src 'self' data:; "  # icons of the admin and of the API's docs
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@sync_and_async_middleware
def static_files(get_response: Any) -> Any:
    """Serves static files. A missing one is a 404, in development too: no traceback."""
    if iscoroutinefunction(get_response):
        return _static_files(get_response)
    serve = async_to_sync(_static_files(sync_to_async(get_response)))

    def handle(request: HttpRequest) -> Any:
        is_static = request.path.startswith(settings.STATIC_URL)
        return serve(request) if is_static else get_response(request)

    return handle


def _static_files(get_response: AsyncView) -> AsyncView:
    serve = ServeStaticMiddleware(get_response)

    async def handle(request: HttpRequest) -> Any:
        try:
            return await serve(request)
        except MissingFileError:
            return await get_response(request)

    return handle


def around(begin: Callable[[HttpRequest], Finish]) -> Any:
    """A middleware: `begin` gets the request, and what it returns gets the response."""

    @sync_and_async_middleware
    @functools.wraps(begin)
    def middleware(get_response: Any) -> Any:
        async def handle_async(request: HttpRequest) -> Any:
            finish = begin(request)
            finish(response := await get_response(request))
            return response

        def handle(request: HttpRequest) -> Any:
            finish = begin(request)
            finish(response := get_response(request))
            return response

        return handle_async if iscoroutinefunction(get_response) else handle

    return middleware


@around
def request_log(request: HttpRequest) -> Finish:
    """Logs one line per request, without its query string, which may hold a token.

    A stream has no line here: the app logs when it starts and ends, or why it does not start.
    All records of a request, those of its stream included, share a `request_id`.
    """
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=uuid.uuid4().hex)
    # Takes the token out of the URL before anything can show or log it.
    with contextlib.suppress(SuspiciousOperation):  # the next reader of the query refuses it
        permissions.presented_token(request)
    started = time.perf_counter()

    def log(response: HttpResponseBase) -> None:
        if getattr(response, "is_logged", False):
            return
        if response.status_code == HTTPStatus.BAD_REQUEST and not _is_host_allowed(request):
            return  # Django has logged the host
        is_refused = 400 <= response.status_code < 500
        if is_refused:
            # Django would log the same in another line.
            mark_as_logged(response)
        fields = {
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - started) * 1000),
            "client_ip": request.META.get("REMOTE_ADDR"),
        }
        level = logging.WARNING if is_refused else logging.INFO
        logger.log(level, "request_finished", extra=fields)

    return log


def _is_host_allowed(request: HttpRequest) -> bool:
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return True


@around
def content_security_policy(request: HttpRequest) -> Finish:
    """Adds the policy to every response that has none."""

    def add_policy(response: HttpResponseBase) -> None:
        # Django's debug pages have inline styles and scripts.
        if not (settings.DEBUG and response.status_code in (404, 500)):
            response.headers.setdefault("Content-Security-Policy", POLICY)

    return add_policy


@around
def resource_timing(request: HttpRequest) -> Finish:
    """Pages of origins that may read a response also see its protocol, in their browser's timings.

    The client does not count its streams over HTTP/2. The entry of a stream comes after its end.
    """

    def allow(response: HttpResponseBase) -> None:
        origin = response.headers.get("Access-Control-Allow-Origin")
        is_stream = response.headers.get("Content-Type", "").startswith(EVENT_STREAM)
        # `EventStreams` makes a stream a 204 after the middleware, Django's handler before it.
        if origin and not is_stream and response.status_code != HTTPStatus.NO_CONTENT:
            response.headers.setdefault("Timing-Allow-Origin", origin)

    return allow


@around
def page_language(request: HttpRequest) -> Finish:
    """The language of the reader's browser, as `LocaleMiddleware` finds it, for all but the API.

    Unlike that class it needs no thread, and leaves the headers of the API and the streams alone.
    The thread has no language afterwards.
    """
    if request.path_info.startswith(API_PATH):
        translation.activate(API_LANGUAGE)
        return lambda response: translation.deactivate()
    language = translation.get_language_from_request(request)
    translation.activate(language)

    def add_headers(response: HttpResponseBase) -> None:
        patch_vary_headers(response, ("Accept-Language",))
        response.headers.setdefault("Content-Language", language)
        translation.deactivate()

    return add_headers
