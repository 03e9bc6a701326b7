"""Puts the API together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import non_atomic_requests
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, re_path
from ninja import NinjaAPI, Router
from ninja.constants import NOT_SET
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import PathView

from ingestion_progress import extensions
from ingestion_progress.api import jobs, stream_tokens
from ingestion_progress.api.auth import MayView
from ingestion_progress.api.errors import ApiError
from ingestion_progress.api.handlers import add_handlers, add_speaking
from ingestion_progress.api.openapi import DESCRIPTION, complete

View = Callable[..., HttpResponseBase]


class ProgressAPI(NinjaAPI):
    """A NinjaAPI that answers every request below it with JSON, and describes the stream too."""

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        patterns = super()._get_urls()
        for pattern in cast("list[URLPattern]", patterns):
            pattern.callback = answer_in_json(pattern.callback)
        return [*patterns, re_path("", not_found, name="not-found")]

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        return complete(
            super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        )


def build_api() -> ProgressAPI:
    """The API with its own operations and those that installed apps add (`extensions`)."""
    api = ProgressAPI(
        title="Ingestion progress",
        version="1",
        description=DESCRIPTION,
        urls_namespace="ingestion_progress:api",
        auth=[MayView()],
    )
    add_handlers(api)
    for codes in extensions.api_errors():
        add_speaking(api, codes)
    routers = (*extensions.api_routers(), jobs.router, stream_tokens.router)
    api.add_router("", merged(routers))
    return api


def merged(routers: Iterable[Router]) -> Router:
    """One router with the operations of all.

    ninja makes a view per router and address: where two routers share one, the first would refuse
    the methods of the second. Raises ImproperlyConfigured for `auth` on a router, which would get
    lost; it belongs on the operations.
    """
    together = Router()
    for router in routers:
        if router.auth is not NOT_SET:
            raise ImproperlyConfigured("Name `auth` on each operation instead of on its Router.")
        for path, view in router.path_operations.items():
            shared = together.path_operations.setdefault(path, PathView())
            shared.operations += view.operations
            shared.is_async |= view.is_async
    return together


def answer_in_json(view: View) -> View:
    """Gives the view HEAD, and an answer in JSON where the method does not fit."""

    @login_not_required  # the guards decide
    # The tracker commits by itself; a request's own transaction would only hide that.
    @non_atomic_requests
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        method = request.method
        if method == "HEAD":
            request.method = "GET"  # the server leaves out the body
        try:
            response = view(request, *args, **kwargs)
        except Http404:  # ninja's page at the root
            return not_found(request)
        finally:
            request.method = method
        if response.status_code != 405:
            return response
        refusal = ApiError("method_not_allowed").response()
        refusal["Allow"] = response["Allow"]
        return refusal

    answer.csrf_exempt = True  # type: ignore[attr-defined]  # the guards check it
    return answer


@login_not_required
def not_found(request: HttpRequest) -> HttpResponse:
    return ApiError("not_found").response()


not_found.csrf_exempt = True  # type: ignore[attr-defined]  # it does nothing
