"""Asking Django, with all its middleware, about a request whose body nobody has read yet."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIHandler
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch
from django.views.decorators.csrf import csrf_exempt

from ingestion_progress.api.errors import ApiError
from ingestion_progress.concurrency.threads import release_connections
from ingestion_progress.extensions import NOT_PERMITTED, UploadRules, view_name

API = "ingestion_progress:api:"
# The scope's key for what is wrong with the body: a code of the API's errors, or "".
PROBLEM = "ingestion_progress.body_problem"
LIMIT = "ingestion_progress.body_limit_bytes"
# And for the UploadRules of an upload, or None.
RULES = "ingestion_progress.upload_rules"


class Inquiry(ASGIHandler):
    """A handler whose only view judges a request by its headers.

    The middleware is the project's own, so whoever it knows is known here too, and a refusal has
    the headers (CORS, policies) and the log line that every answer has.
    """

    async def ask(
        self, scope: Any, *, problem: str, limit_bytes: int, rules: UploadRules | None
    ) -> list[dict[str, Any]]:
        """The ASGI messages of the answer; 204 says that the body may come."""
        answer: list[dict[str, Any]] = []
        is_received = False

        async def receive() -> dict[str, Any]:
            nonlocal is_received
            if is_received:  # whoever waits for the client to leave is cancelled in the end
                await asyncio.get_running_loop().create_future()
            is_received = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            answer.append(message)

        asked = {PROBLEM: problem, LIMIT: limit_bytes, RULES: rules}
        await self(scope | asked, receive, send)
        return answer

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        request.resolver_match = ResolverMatch(judge, (), {})
        return request.resolver_match


@login_not_required
@csrf_exempt  # the token may be in the body, and the view that gets it looks for it there
@non_atomic_requests
def judge(request: HttpRequest) -> HttpResponse:
    scope = request.scope  # type: ignore[attr-defined]
    rules: UploadRules | None = scope[RULES]
    try:
        if rules and not rules.may_upload(request):
            return rules.refusal(request, NOT_PERMITTED)
    finally:
        release_connections()
    if not scope[PROBLEM]:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    if rules:
        return rules.refusal(request, scope[PROBLEM])
    return _too_large(view_name(scope), scope[LIMIT])


def _too_large(name: str, limit_bytes: int) -> HttpResponse:
    text = f"The body of this request is larger than the limit of {limit_bytes} bytes."
    if name.startswith(API):
        return ApiError("too_large", text, limit_bytes=limit_bytes).response()
    return HttpResponse(text, status=413, content_type="text/plain; charset=utf-8")
