"""Runs the middleware and the permission check of a request before its body is read."""

import asyncio
from http import HTTPStatus
from typing import Any, TypeAlias

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIHandler
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch
from django.views.decorators.csrf import csrf_exempt

from ingestion_progress.api.errors import ApiError
from ingestion_progress.auth import permissions, quotas
from ingestion_progress.concurrency.request_thread import release_connections
from ingestion_progress.exceptions import DATABASE_UNAVAILABLE, ErrorCode, QuotaExceeded
from ingestion_progress.exceptions.sentences import Sentence
from ingestion_progress.extensions import UploadRules, view_name

API = "ingestion_progress:api:"
# The key of the scope that holds the arguments of the check.
SUBJECT = "ingestion_progress.preflight"
Subject: TypeAlias = tuple[ErrorCode | None, int, UploadRules | None]


class PreflightCheck(ASGIHandler):
    """A Django handler whose only view decides by the headers of a request.

    The project's middleware runs, so that users are known here as in any view, and a refusal has
    the usual headers (CORS, policies) and log line.
    """

    async def run(
        self, scope: Any, *, error: ErrorCode | None, limit_bytes: int, rules: UploadRules | None
    ) -> list[dict[str, Any]]:
        """The ASGI messages of the response; status 204 permits the body.

        `error`: what is wrong with its length.
        """
        response: list[dict[str, Any]] = []
        is_received = False

        async def receive() -> dict[str, Any]:
            nonlocal is_received
            if is_received:  # the handler's wait for a disconnect, which it cancels at the end
                await asyncio.get_running_loop().create_future()
            is_received = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            response.append(message)

        subject: Subject = (error, limit_bytes, rules)
        await self(scope | {SUBJECT: subject}, receive, send)
        return response

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        request.resolver_match = ResolverMatch(preflight_check, (), {})
        return request.resolver_match


@login_not_required
@csrf_exempt  # the token may be in the body; the real view checks it
@non_atomic_requests
def preflight_check(request: HttpRequest) -> HttpResponse:
    scope = request.scope  # type: ignore[attr-defined]
    error, limit_bytes, rules = scope[SUBJECT]
    if rules:
        try:
            return _upload_check(request, rules, error)
        finally:
            release_connections()
    text = Sentence(
        "The body of this request is larger than the limit of %(limit)s bytes.", limit=limit_bytes
    )
    if view_name(scope).startswith(API):
        return ApiError(ErrorCode.TOO_LARGE, text, limit_bytes=limit_bytes).response()
    is_browser = "text/html" in request.headers.get("Accept", "")
    shown = text.translated() if is_browser else text
    return HttpResponse(shown, status=413, content_type="text/plain; charset=utf-8")


def _upload_check(
    request: HttpRequest, rules: UploadRules, error: ErrorCode | None
) -> HttpResponse:
    """Checks the quota without counting, because the view counts each document."""
    try:
        if not rules.may_upload(request):
            return rules.refusal(request, permissions.refusal_code(request), "")
        if error is not None:
            return rules.refusal(request, error, "")
        quotas.check(request, quotas.UPLOADS)
    except QuotaExceeded as refused:
        response = rules.refusal(request, refused.code, refused.sentence)
        for name, value in refused.headers.items():
            response[name] = value
        return response
    except DATABASE_UNAVAILABLE:
        return rules.refusal(request, ErrorCode.UNAVAILABLE, "")
    return HttpResponse(status=HTTPStatus.NO_CONTENT)
