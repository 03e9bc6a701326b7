"""The two streams of Server-Sent Events: the progress of one job, and of many jobs.

    GET …/jobs/{job_id}/progress     one job
    GET …/progress                   all active jobs, those in ?jobs=a,b, or those of a ?batch=

Both answer a request with the stream, or refuse it as JSON before any stream starts.
"""

import logging
import threading
from http import HTTPStatus

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from ingestion_progress.api.errors import ApiError
from ingestion_progress.auth import permissions
from ingestion_progress.concurrency.request_thread import release_connections
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import DATABASE_UNAVAILABLE, AccessRefused, ErrorCode
from ingestion_progress.feed import Selection
from ingestion_progress.streams.decorators import stream_view
from ingestion_progress.streams.parameters import (
    encoding_for,
    has_condition,
    last_event_id,
    named_jobs,
    problem_with,
    problem_with_condition,
)
from ingestion_progress.streams.response import EventStream, EventStreamResponse, whole
from ingestion_progress.streams.visibility import restrict
from ingestion_progress.wire.frames import retry_between

logger = logging.getLogger(__name__)

RETRY_WHILE_DOWN_SECONDS = (2.0, 10.0)
ALLOWED_METHODS = "GET, HEAD, OPTIONS"
READING_METHODS = frozenset({"GET", "HEAD"})
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET",
    "Access-Control-Allow-Headers": "Authorization, Cache-Control, Last-Event-ID",
    "Access-Control-Max-Age": "86400",
}

# Behind Django's own handler each request has its own thread and connection: of 200 users
# who reconnected at once, 40 found PostgreSQL's 100 connections taken.
AUTHORISING = threading.BoundedSemaphore(10)


@stream_view
def job_progress(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """An invalid id is answered like that of an unknown job."""
    return _answer(request, Selection.one(job_id, last_event_id=last_event_id(request)))


@stream_view
def jobs_progress(request: HttpRequest) -> HttpResponseBase:
    """`?until=idle` ends the stream once none of its jobs is active."""
    names, until = named_jobs(request.GET.get("jobs")), request.GET.get("until", "")
    batch = request.GET.get("batch", "")
    problem = problem_with(names, batch, until) or problem_with_condition(request, names)
    if request.method in READING_METHODS and problem:
        return refusal(request, ErrorCode.BAD_REQUEST, problem)
    is_until_idle, cursor = until == "idle", last_event_id(request)
    if names is None:
        selection = Selection.active(batch=batch, is_until_idle=is_until_idle, last_event_id=cursor)
    else:
        selection = Selection.named(names, is_until_idle=is_until_idle, last_event_id=cursor)
    return _answer(request, selection)


def _answer(request: HttpRequest, selection: Selection) -> HttpResponseBase:
    if request.method not in READING_METHODS:
        return _other_method(request)
    if not isinstance(request, ASGIRequest):
        return refusal(request, ErrorCode.ASGI_REQUIRED)
    try:
        grant = _grant(request, selection)
    except AccessRefused as refused:
        return refusal(request, refused.code)
    except DATABASE_UNAVAILABLE:
        return unavailable(request)
    encoding, headers = encoding_for(request), _headers(request)
    if request.method == "HEAD":
        return EventStreamResponse(whole(b""), headers, encoding=encoding)
    stream = EventStream(request, selection, grant, encoding=encoding)
    return EventStreamResponse(stream, headers, encoding=encoding)


def _other_method(request: HttpRequest) -> HttpResponse:
    if request.method != "OPTIONS":
        return refusal(request, ErrorCode.METHOD_NOT_ALLOWED)
    headers = {"Allow": ALLOWED_METHODS, **cors_headers(request), **PREFLIGHT_HEADERS}
    return HttpResponse(status=HTTPStatus.NO_CONTENT, headers=headers)


def _grant(request: HttpRequest, selection: Selection) -> permissions.Grant:
    job_ids = selection.access_ids
    if permissions.is_open() and not has_condition(request):  # needs no query
        return permissions.grant_view_of_each(request, job_ids)
    with AUTHORISING:
        try:
            grant = permissions.grant_view_of_each(request, job_ids)
            restrict(request, selection)
            return grant
        finally:
            release_connections()


def unavailable(request: ASGIRequest) -> EventStreamResponse:
    """The response while the database is down and permission cannot be checked. Not a 5xx, which
    ends an EventSource for good, but a stream that ends at once with a `retry:`.
    """
    client_ip = request.META.get("REMOTE_ADDR", "")
    fields = {"path": request.path, "client_ip": client_ip, "code": ErrorCode.UNAVAILABLE}
    logger.info("sse_stream_refused", extra=fields)
    body = b"" if request.method == "HEAD" else retry_between(RETRY_WHILE_DOWN_SECONDS)
    response = EventStreamResponse(whole(body), _headers(request))
    response.is_logged = True
    return response


def refusal(request: HttpRequest, code: ErrorCode, message: str = "") -> HttpResponse:
    """An error as JSON, in the shape of the API's errors."""
    headers = cors_headers(request)
    if code is ErrorCode.METHOD_NOT_ALLOWED:
        headers["Allow"] = ALLOWED_METHODS
    return ApiError(code, message).response(headers)


def cors_headers(request: HttpRequest) -> dict[str, str]:
    """`*` if streams are public; otherwise the request's origin, if it is in CORS_ORIGINS."""
    if permissions.is_open():
        return {"Access-Control-Allow-Origin": "*"}
    origin = request.headers.get("Origin", "")
    if origin not in conf.cors_origins:
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        # A stream that is not public needs the session cookie.
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


def _headers(request: ASGIRequest) -> dict[str, str]:
    headers = cors_headers(request)
    headers["Vary"] = ", ".join(filter(None, [headers.get("Vary"), "Accept-Encoding"]))
    # A hop-by-hop header: malformed on HTTP/2, and an error of a WSGI server.
    if request.scope.get("http_version") == "1.1":
        headers["Connection"] = "keep-alive"
    return headers
