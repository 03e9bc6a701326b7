"""`GET …/jobs/{job_id}/progress`: the progress of one job as Server-Sent Events."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from ingestion_progress import access
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import DATABASE_AWAY, AccessRefused
from ingestion_progress.feed import Feed, Subscriber
from ingestion_progress.feed.partings import come_back_after
from ingestion_progress.threads import release_connections
from ingestion_progress.views.cors import cors_headers, preflight_headers
from ingestion_progress.views.event_stream import (
    Admission,
    EventStream,
    EventStreamResponse,
    StreamView,
    Subscribe,
    whole,
)

logger = logging.getLogger(__name__)

RETRY_WHILE_AWAY_SECONDS = (2.0, 10.0)

REFUSED_WEIGHT = re.compile(r"q=0(\.0*)?")
ALLOWED_METHODS = "GET, HEAD, OPTIONS"
READING_METHODS = frozenset({"GET", "HEAD"})

# Behind Django's own handler each request has a thread and a connection of its own: of 200 users
# who came back at once, 40 found PostgreSQL's 100 connections taken.
AUTHORISING = threading.BoundedSemaphore(10)

# Status and message by code, in the shape of the API's errors.
REFUSALS = {
    "unauthorized": (HTTPStatus.UNAUTHORIZED, "Log in: this is not public."),
    "token_invalid": (HTTPStatus.UNAUTHORIZED, "The token does not count here."),
    "token_expired": (HTTPStatus.UNAUTHORIZED, "The token has expired; get a new one."),
    "forbidden": (HTTPStatus.FORBIDDEN, "This user or token may not watch this."),
    "bad_request": (HTTPStatus.BAD_REQUEST, "The request is malformed."),
    "method_not_allowed": (HTTPStatus.METHOD_NOT_ALLOWED, "A stream is read with GET."),
    "asgi_required": (
        HTTPStatus.NOT_IMPLEMENTED,
        "Streams need an ASGI server: run daphne, uvicorn or granian instead of WSGI.",
    ),
}


@StreamView
@login_not_required  # `access` decides, and answers an EventSource better than a login page
@csrf_exempt  # it only reads, and says so in JSON to whoever tries to write
@transaction.non_atomic_requests
def job_progress(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """The stream, or a refusal as JSON before any stream starts.

    An id that cannot be a job's is that of an unknown job.
    """

    def subscribe(feed: Feed) -> Subscriber:
        return feed.subscribe(job_id, resume_id=last_event_id(request))

    return answer(request, [job_id], subscribe)


def answer(request: HttpRequest, job_ids: Sequence[str], subscribe: Subscribe) -> HttpResponseBase:
    """What every stream answers to a request about these jobs; the id `""` stands for all."""
    if request.method == "OPTIONS":
        headers = {"Allow": ALLOWED_METHODS} | preflight_headers(request)
        return HttpResponse(status=HTTPStatus.NO_CONTENT, headers=headers)
    if request.method not in READING_METHODS:
        return refusal(request, "method_not_allowed")
    if not isinstance(request, ASGIRequest):
        return refusal(request, "asgi_required")
    try:
        grant = _grant(request, job_ids)
    except AccessRefused as refused:
        return refusal(request, refused.code)
    except DATABASE_AWAY:
        return unavailable(request)
    return _stream(request, job_ids, grant, subscribe)


def _stream(
    request: ASGIRequest, job_ids: Sequence[str], grant: access.Grant, subscribe: Subscribe
) -> EventStreamResponse:
    encoding = encoding_for(request)
    if request.method == "HEAD":
        return EventStreamResponse(whole(b""), _headers(request), encoding=encoding)
    admission = Admission(request=request, job_ids=job_ids, grant=grant, subscribe=subscribe)
    stream = EventStream(admission, encoding=encoding)
    return EventStreamResponse(stream, _headers(request), encoding=encoding)


def _grant(request: HttpRequest, job_ids: Sequence[str]) -> access.Grant:
    if access.is_open():  # nothing to ask of the database
        return access.grant_view_of_each(request, job_ids)
    with AUTHORISING:
        try:
            return access.grant_view_of_each(request, job_ids)
        finally:
            release_connections()


def unavailable(request: ASGIRequest) -> EventStreamResponse:
    """While nobody can say whether this viewer may watch: not a 5xx, which ends an EventSource for
    good, but a stream that ends at once, and has the client come back by itself.
    """
    client_ip = request.META.get("REMOTE_ADDR", "")
    fields = {"path": request.path, "client_ip": client_ip, "code": "unavailable"}
    logger.info("sse_stream_refused", extra=fields)
    body = b"" if request.method == "HEAD" else come_back_after(RETRY_WHILE_AWAY_SECONDS)
    response = EventStreamResponse(whole(body), _headers(request))
    response.is_logged = True
    return response


def refusal(request: HttpRequest, code: str, message: str = "") -> HttpResponse:
    """As JSON, in the shape of the API's errors."""
    status, meaning = REFUSALS[code]
    headers = cors_headers(request)
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ALLOWED_METHODS
    body = {"code": code, "message": message or meaning}
    return JsonResponse(body, status=status, headers=headers)


def last_event_id(request: HttpRequest) -> str:
    """The point to resume from, of clients that cannot set headers too."""
    return request.headers.get("Last-Event-ID") or request.GET.get("last_event_id", "")


def encoding_for(request: HttpRequest) -> str:
    """`gzip` for a client that takes it, where the site lets it; else `identity`."""
    for offer in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, _, weight = offer.partition(";")
        if name.strip() == "gzip" and not REFUSED_WEIGHT.fullmatch(weight.strip()):
            return "gzip" if conf.is_compressed else "identity"
    return "identity"


def _headers(request: ASGIRequest) -> dict[str, str]:
    headers = cors_headers(request)
    headers["Vary"] = ", ".join(filter(None, [headers.get("Vary"), "Accept-Encoding"]))
    # A hop-by-hop header: malformed on HTTP/2, and an error of a WSGI server.
    if request.scope.get("http_version") == "1.1":
        headers["Connection"] = "keep-alive"
    return headers
