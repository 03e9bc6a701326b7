"""Who may see what: the one place that decides, for the stream, the API and the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from django.utils.module_loading import import_string

from ingestion_progress.conf import conf

if TYPE_CHECKING:
    from django.http import HttpRequest

    CanView = Callable[[HttpRequest, str], bool]


def is_open() -> bool:
    """May everybody see every job? Then there is nothing to ask of a request."""
    return conf.is_public and not conf.can_view


def may_view(request: HttpRequest, job_id: str) -> bool:
    """May this request see the job, whether it exists or not? May query the database.

    The id `""` stands for all jobs together: their list, and the search.
    """
    if conf.can_view:
        return _hook_agrees(request, job_id)
    return conf.is_public or _has_permission(request, "ingestion_progress.view_job")


def may_start(request: HttpRequest, job_id: str = "") -> bool:
    """May this request start jobs and, given an id, cancel or delete that one?

    Who may not see a job by the project's own rule may not touch it. May query the database.
    """
    if not (conf.is_public or _has_permission(request, "ingestion_progress.start_job")):
        return False
    return not (job_id and conf.can_view) or _hook_agrees(request, job_id)


def refusal_status(request: HttpRequest) -> int:
    """The HTTP status of a refusal: 401 to somebody unknown, 403 to a user."""
    user = getattr(request, "user", None)  # absent without AuthenticationMiddleware
    return 403 if user is not None and user.is_authenticated else 401


def _hook_agrees(request: HttpRequest, job_id: str) -> bool:
    hook = cast("CanView", import_string(conf.can_view))
    return bool(hook(request, job_id))


def _has_permission(request: HttpRequest, permission: str) -> bool:
    user = getattr(request, "user", None)
    # An inactive user has no permissions, not even as a superuser.
    return user is not None and user.has_perm(permission)
