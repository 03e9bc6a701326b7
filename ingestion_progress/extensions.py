"""What installed apps add to the API, the pages and the limits of request bodies.

An app config lists dotted paths, which are imported on use:

    class PipelineConfig(AppConfig):
        progress_api_routers = ["….search.router"]             ninja Routers
        progress_urls = ["….urls.urlpatterns"]                 lists of URL patterns
        progress_upload_rules = ["….uploads.rules.rules"]      objects like `UploadRules`
        progress_document_deleters = ["….deletion.delete_unused_document"]  `DocumentDeleter`s
        progress_worker_command = "ingestion_worker"           starts a worker
        progress_document_pages = ["….documents.access.document_page"]  `DocumentPage`s
        progress_document_admin_pages = ["….documents.access.document_admin_page"]  the same
        progress_job_cards = ["….documents.cards.result_card"]  `JobCard`s
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from django.apps import apps
from django.conf import settings
from django.core.handlers.asgi import get_script_prefix
from django.core.management import get_commands
from django.urls import Resolver404, resolve
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern, URLResolver
    from ninja import Router

    from ingestion_progress.exceptions import ErrorCode
    from ingestion_progress.models import Job
    from ingestion_progress.wire.asgi_types import Scope


class UploadRules(Protocol):
    """Decides by the headers of a request whether its body may be read."""

    def limit_for(self, scope: Scope) -> int | None:
        """The maximum length of the body; None if the request is not an upload to this app."""

    def may_upload(self, request: HttpRequest) -> bool:
        """May the sender of the request upload? May query the database."""

    def refusal(self, request: HttpRequest, code: ErrorCode, message: str) -> HttpResponse:
        """The response to a refused upload.

        `code`: UNAUTHORIZED, FORBIDDEN, TOO_LARGE, LENGTH_REQUIRED, TOO_MANY_REQUESTS or
        UNAVAILABLE. `message`: a sentence that is more precise than that of the code, or empty.
        """


class DocumentDeleter(Protocol):
    """Deletes what an app stores of a document whose jobs are pruned."""

    def __call__(self, document_id: str, job_ids: Collection[str]) -> bool:
        """Does nothing if a job other than these refers to the document. Returns whether it deleted
        the document.
        """


class DocumentPage(Protocol):
    def __call__(self, request: HttpRequest, document_id: str) -> str:
        """The URL of the page of a document that an app stores; empty if there is none for this
        request.
        """


class JobCard(Protocol):
    def __call__(self, request: HttpRequest, job: Job) -> str:
        """HTML of a section on the page of a job, which the request may view; empty if there is
        nothing to show. Must not wait for a service: the page would wait, too.
        """


def api_routers() -> Iterator[Router]:
    """Operations below `/api/v1/`; one without its own `auth` needs permission to view jobs."""
    return _named("progress_api_routers")


def url_patterns() -> Iterator[URLPattern | URLResolver]:
    """URL patterns in the namespace `ingestion_progress`, which take precedence over its pages."""
    return itertools.chain.from_iterable(_named("progress_urls"))


def upload_rules() -> Iterator[UploadRules]:
    return _named("progress_upload_rules")


def document_deleters() -> Iterator[DocumentDeleter]:
    return _named("progress_document_deleters")


def worker_command() -> str:
    """The management command that pages suggest for a queued job; empty without one."""
    commands = (getattr(app, "progress_worker_command", "") for app in apps.get_app_configs())
    known = get_commands()
    return next((command for command in commands if command in known), "")


def document_url(request: HttpRequest, document_id: str) -> str:
    """The page of a document, to which the pages of its jobs link; empty without one."""
    return _first_page("progress_document_pages", request, document_id)


def document_admin_url(request: HttpRequest, document_id: str) -> str:
    """The page of a document in the admin, to which the admin's page of a job links; or empty."""
    return _first_page("progress_document_admin_pages", request, document_id)


def job_cards(request: HttpRequest, job: Job) -> list[str]:
    """What apps add to the page of a job: safe HTML, between its progress and its log."""
    cards: Iterator[JobCard] = _named("progress_job_cards")
    return list(filter(None, (card(request, job) for card in cards)))


def view_name(scope: Scope) -> str:
    """The name of the URL pattern, with its namespaces; empty if no pattern matches."""
    path = scope["path"].removeprefix(get_script_prefix(scope))
    try:
        return resolve(path, settings.ROOT_URLCONF).view_name
    except Resolver404:
        return ""


def _first_page(attribute: str, request: HttpRequest, document_id: str) -> str:
    pages: Iterator[DocumentPage] = _named(attribute)
    return next(filter(None, (page(request, document_id) for page in pages)), "")


def _named(attribute: str) -> Iterator[Any]:
    for config in apps.get_app_configs():
        for path in getattr(config, attribute, ()):
            yield import_string(path)
