"""What installed apps add to the API, the pages and the limits of bodies.

An app config names it by dotted paths, which are imported when they are used:

    class PipelineConfig(AppConfig):
        progress_api_routers = ["….search_api.router"]         operations of the API: ninja Routers
        progress_api_errors = ["….uploads.api.PUBLIC_ERRORS"]  {exception: code of the API's errors}
        progress_urls = ["….urls.urlpatterns"]                 lists of URL patterns
        progress_upload_rules = ["….uploads.rules.rules"]      objects like `UploadRules`
        progress_worker_command = "ingestion_worker"           the command that starts a worker
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from django.apps import apps
from django.conf import settings
from django.core.handlers.asgi import get_script_prefix
from django.urls import Resolver404, resolve
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern, URLResolver
    from ninja import Router

    from ingestion_progress.wire.asgi_types import Scope

NOT_PERMITTED = "not_permitted"


class UploadRules(Protocol):
    """What an app decides about an upload by its headers, before the body is read."""

    def limit_for(self, scope: Scope) -> int | None:
        """How many bytes the body may have; None for a request that uploads nothing to the app."""

    def may_upload(self, request: HttpRequest) -> bool:
        """May whoever sends the request upload? May query the database."""

    def refusal(self, request: HttpRequest, problem: str) -> HttpResponse:
        """The answer to an upload that is refused.

        `problem`: NOT_PERMITTED, or `too_large` or `length_required` of the API's errors.
        """


def api_routers() -> Iterator[Router]:
    """Operations below `/api/v1/`, each with its own `auth`; by default, who may view jobs."""
    return _named("progress_api_routers")


def api_errors() -> Iterator[Mapping[type[Exception], str]]:
    """Exceptions whose text may be shown to people, and the code that each becomes."""
    return _named("progress_api_errors")


def url_patterns() -> Iterator[URLPattern | URLResolver]:
    """Addresses in the namespace `ingestion_progress`; one in the place of a page replaces it."""
    return itertools.chain.from_iterable(_named("progress_urls"))


def upload_rules() -> Iterator[UploadRules]:
    return _named("progress_upload_rules")


def worker_command() -> str:
    """The management command that pages name for a job that waits; empty without one."""
    commands = (getattr(app, "progress_worker_command", "") for app in apps.get_app_configs())
    return next(filter(None, commands), "")


def view_name(scope: Scope) -> str:
    """The name in the URLs, with its namespaces; empty where nothing has the address."""
    path = scope["path"].removeprefix(get_script_prefix(scope))
    try:
        return resolve(path, settings.ROOT_URLCONF).view_name
    except Resolver404:
        return ""


def _named(attribute: str) -> Iterator[Any]:
    for config in apps.get_app_configs():
        for path in getattr(config, attribute, ()):
            yield import_string(path)
