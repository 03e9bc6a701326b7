"""Builds the API from its operations and those of installed apps."""

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
from ninja.operation import Operation, PathView

from ingestion_progress import extensions
from ingestion_progress.api import batches, job_errors, job_list, job_samples, jobs, stream_tokens
from ingestion_progress.api.auth import MayView
from ingestion_progress.api.docs_page import DocsPage
from ingestion_progress.api.errors import ApiError, add_error_handlers
from ingestion_progress.api.openapi import complete
from ingestion_progress.api.stream_docs import description
from ingestion_progress.exceptions import ErrorCode

View = Callable[..., HttpResponseBase]


class ProgressAPI(NinjaAPI):
    """A NinjaAPI that answers every request below its URL with JSON."""

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        patterns, app_name, namespace = super().urls
        for pattern in cast("list[URLPattern]", patterns):
            pattern.callback = json_view(pattern.callback)
        patterns.append(re_path("", not_found, name="not-found"))
        return patterns, app_name, namespace

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        return complete(
            super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        )


def build_api() -> ProgressAPI:
    """The API with its own operations and those of installed apps (`extensions`)."""
    api = ProgressAPI(
        title="Ingestion progress",
        version="1",
        description=description("api.md"),
        docs=DocsPage(),
        urls_namespace="ingestion_progress:api",
        auth=[MayView()],
    )
    add_error_handlers(api)
    routers = (
        *extensions.api_routers(),
        job_list.router,
        jobs.router,
        job_errors.router,
        job_samples.router,
        batches.router,
        stream_tokens.router,
    )
    api.add_router("", merged(routers))
    return api


def merged(routers: Iterable[Router]) -> Router:
    """One router with the operations of all.

    ninja makes a view per router and path: where two routers share a path, the first would refuse
    the methods of the second. Raises ImproperlyConfigured for a router with `auth`, which the merge
    would drop.
    """
    together = Router()
    for router in routers:
        if router.auth is not NOT_SET:
            raise ImproperlyConfigured("Set `auth` on each operation instead of on its Router.")
        for path, view in router.path_operations.items():
            shared = together.path_operations.setdefault(path, PathView())
            shared.operations += view.operations
            shared.is_async |= view.is_async
    return together


def json_view(view: View) -> View:
    """Adds HEAD to the view, and answers 404 and 405 with JSON."""

    @login_not_required  # `auth` of the operation decides
    # The tracker commits its own transactions; one around the request would hide them.
    @non_atomic_requests
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        method = request.method
        if method == "HEAD":
            request.method = "GET"  # the server omits the body
        try:
            response = view(request, *args, **kwargs)
        except Http404:  # ninja's page at the root
            return not_found(request)
        finally:
            request.method = method
        if response.status_code != 405:
            return response
        return ApiError(ErrorCode.METHOD_NOT_ALLOWED).response({"Allow": response["Allow"]})

    answer.csrf_exempt = True  # type: ignore[attr-defined]  # `auth` checks the token
    return answer


@login_not_required
def not_found(request: HttpRequest) -> HttpResponse:
    return ApiError(ErrorCode.NOT_FOUND).response()


not_found.csrf_exempt = True  # type: ignore[attr-defined]  # it changes nothing
