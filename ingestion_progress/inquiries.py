"""Asking Django, with all its middleware, about a request whose body nobody has read yet."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import Resolver404, ResolverMatch, resolve
from django.views.decorators.csrf import csrf_exempt

from ingestion_progress import access, wording
from ingestion_progress.api.errors import ApiError
from ingestion_progress.conf import conf
from ingestion_progress.threads import release_connections
from ingestion_progress.views import pages

API = "ingestion_progress:api:"
UPLOAD = API + "jobs"
UPLOAD_FORM = "ingestion_progress:job_list"
# The scope's key for what is wrong with the body: a code of the API's errors, or "".
PROBLEM = "ingestion_progress.body_problem"
LIMIT = "ingestion_progress.body_limit_bytes"


class Inquiry(ASGIHandler):
    """A handler whose only view judges a request by its headers.

    The middleware is the project's own, so whoever it knows is known here too, and a refusal has
    the headers (CORS, policies) and the log line that every answer has.
    """

    async def ask(self, scope: Any, *, problem: str, limit_bytes: int) -> list[dict[str, Any]]:
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

        await self({**scope, PROBLEM: problem, LIMIT: limit_bytes}, receive, send)
        return answer

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        request.resolver_match = ResolverMatch(judge, (), {})
        return request.resolver_match


@login_not_required
@csrf_exempt  # the token may be in the body, and the view that gets it looks for it there
@non_atomic_requests
def judge(request: HttpRequest) -> HttpResponse:
    scope = request.scope  # type: ignore[attr-defined]
    name = view_name(scope)
    try:
        if is_upload(scope) and not access.may_start(request):
            return _stranger(request, name)
    finally:
        release_connections()
    if scope[PROBLEM]:
        return _problem(request, name, scope[PROBLEM], scope[LIMIT])
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


def is_upload(scope: Any) -> bool:
    """Does the request bring documents, to the API or by the form of the page?"""
    if scope["method"] != "POST" or not apps.is_installed(pages.PIPELINE):
        return False
    return view_name(scope) in {UPLOAD, UPLOAD_FORM}


def view_name(scope: Any) -> str:
    """The name in the URLs, with its namespaces; empty where nothing has the address."""
    path = scope["path"].removeprefix(get_script_prefix(scope))
    try:
        return resolve(path, settings.ROOT_URLCONF).view_name
    except Resolver404:
        return ""


def _stranger(request: HttpRequest, name: str) -> HttpResponse:
    if name == UPLOAD_FORM:
        return pages.refusal(request)
    is_known = access.refusal_status(request) == HTTPStatus.FORBIDDEN
    return ApiError("forbidden" if is_known else "unauthorized").response()


def _problem(request: HttpRequest, name: str, code: str, limit_bytes: int) -> HttpResponse:
    if code == "length_required":
        return ApiError(code).response()
    if name == UPLOAD_FORM and request.method == "POST":
        size = wording.file_size(conf.max_upload_bytes)
        text = f"That was more than {size}, the limit for a document and for all of a form."
        messages.error(request, text, fail_silently=True)
        return redirect(UPLOAD_FORM)
    if name == UPLOAD:
        from ingestion_progress.pipeline.uploads.api import too_large

        return too_large().response()
    text = f"The body of this request is larger than the limit of {limit_bytes} bytes."
    if name.startswith(API):
        return ApiError(code, text, limit_bytes=limit_bytes).response()
    return HttpResponse(text, status=413, content_type="text/plain; charset=utf-8")
