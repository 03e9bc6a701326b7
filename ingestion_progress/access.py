"""Who may see what: the one place that decides, for the stream, the API and the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.crypto import constant_time_compare

from ingestion_progress.conf import conf

if TYPE_CHECKING:
    from django.http import HttpRequest


def may_view(request: HttpRequest, job_id: str) -> bool:
    """May this request see the job, whether it exists or not? May query the database."""
    return conf.is_public or _has_permission(request, "ingestion_progress.view_job")


def may_start(request: HttpRequest) -> bool:
    """May this request start, cancel, retry and delete jobs? May query the database."""
    return conf.is_public or _has_permission(request, "ingestion_progress.start_job")


def has_metrics_token(request: HttpRequest) -> bool:
    """Does the request carry METRICS_TOKEN as a bearer token? Needs no database."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return (
        conf.metrics_token != ""
        and scheme.lower() == "bearer"
        and constant_time_compare(token.strip(), conf.metrics_token)
    )


def refusal_status(request: HttpRequest) -> int:
    """The HTTP status of a refusal: 401 to somebody unknown, 403 to a user."""
    user = getattr(request, "user", None)  # absent without AuthenticationMiddleware
    return 403 if user is not None and user.is_authenticated else 401


def _has_permission(request: HttpRequest, permission: str) -> bool:
    user = getattr(request, "user", None)
    # An inactive user has no permissions, not even as a superuser.
    return user is not None and user.has_perm(permission)
