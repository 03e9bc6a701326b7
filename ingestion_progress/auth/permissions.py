"""Who may see what: the one place that decides, for the stream, the API and the pages."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth import get_user_model
from django.db import Error as DatabaseFailure
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string

from ingestion_progress.auth import tokens, users
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import AccessRefused

if TYPE_CHECKING:
    from django.http import HttpRequest

    CanView = Callable[[HttpRequest, str], bool]
    FindUser = Callable[[str], Any]

logger = logging.getLogger(__name__)


def is_open() -> bool:
    """May everybody see every job? Then there is nothing to ask of a request."""
    return conf.is_public and not conf.can_view


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """Leave to see a job: whose it is, and for how long."""

    user_id: str = ""
    """Primary key of the user who watches, or who lent the token; empty for anybody else."""
    expires_at: float | None = None
    """Unix seconds; None for as long as the user may see it."""


def may_view(request: HttpRequest, job_id: str, *, by_token: bool = True) -> bool:
    """Does `grant_view` grant it?"""
    try:
        grant_view(request, job_id, by_token=by_token)
    except AccessRefused:
        return False
    return True


def grant_view(
    request: HttpRequest,
    job_id: str,
    *,
    by_token: bool = True,
    find_user: FindUser | None = None,
) -> Grant:
    """Leave to see the job, whether it exists or not. May query the database.

    The id `""` stands for all jobs together: their list, and the search. A token that came with
    the request decides alone. Raises AccessRefused.
    """
    text = tokens.presented(request)
    if is_open():
        return Grant()
    if text and by_token:
        return _granted_by(tokens.verify(text), request, job_id, find_user or _find_user)
    if not _may_view_as_user(request, job_id):
        raise AccessRefused("unauthorized" if refusal_status(request) == 401 else "forbidden")
    return Grant(user_id=user_id_of(request))


def grant_view_of_each(request: HttpRequest, job_ids: Iterable[str]) -> Grant:
    """Leave to see these jobs, all of them; at least one must be named. Raises AccessRefused."""
    find_user = functools.cache(_find_user)
    grants = [grant_view(request, job_id, find_user=find_user) for job_id in job_ids]
    return grants[0]


def may_start(request: HttpRequest, job_id: str = "") -> bool:
    """May this request start jobs and, given an id, cancel or delete that one?

    Who may not see a job by the project's own rule may not touch it. May query the database.
    """
    if not (conf.is_public or _has_permission(request, "ingestion_progress.start_job")):
        return False
    return not (job_id and conf.can_view) or _hook_agrees(request, job_id)


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


def user_id_of(request: HttpRequest) -> str:
    """Primary key of the user who is logged in; empty without one."""
    user = getattr(request, "user", None)
    return str(user.pk) if user is not None and user.is_authenticated else ""


def refusals(asked: Iterable[tuple[HttpRequest, str]]) -> list[str]:
    """For each request and job that was granted once: the code that refuses it now, or "".

    Users are read afresh, many at a time. Raises Django's database errors; a rule of the project
    that fails otherwise refuses.
    """
    each = list(asked)
    found = users.read({user_id for request, _ in each if (user_id := _watcher_of(request))})
    return [_refusal(request, job_id, found.get) for request, job_id in each]


def _watcher_of(request: HttpRequest) -> str:
    """Primary key of the user on whom the leave depends; empty where it depends on nobody."""
    if not (text := tokens.presented(request)):
        return user_id_of(request)
    try:
        return tokens.verify(text).minted_by
    except AccessRefused:
        return ""


def _refusal(request: HttpRequest, job_id: str, find_user: FindUser) -> str:
    try:
        if not tokens.presented(request) and (user_id := user_id_of(request)):
            user = find_user(user_id)
            if user is None or not user.is_active:
                return "forbidden"
            request = _as_user(request, user)
        grant_view(request, job_id, find_user=find_user)
    except AccessRefused as refused:
        return refused.code
    except DatabaseFailure:
        raise
    except Exception:
        logger.exception("access_rule_failed", extra={"rule": conf.can_view})
        return "forbidden"
    return ""


def _granted_by(
    token: tokens.StreamToken, request: HttpRequest, job_id: str, find_user: FindUser
) -> Grant:
    if not token.covers(job_id):
        raise AccessRefused("forbidden")
    if token.minted_by:
        minter = find_user(token.minted_by)
        is_active = minter is not None and minter.is_active
        if not is_active or not _may_view_as_user(_as_user(request, minter), job_id):
            raise AccessRefused("forbidden")
    return Grant(user_id=token.minted_by, expires_at=token.expires_at)


def _find_user(user_id: str) -> Any:
    try:
        return get_user_model().objects.filter(pk=user_id).first()
    except (ValueError, TypeError):  # a token of another service, with ids of its own
        return None


def _as_user(request: HttpRequest, user: Any) -> HttpRequest:
    """The request as if this user had made it."""
    made = copy.copy(request)
    made.user = user
    return made


def _may_view_as_user(request: HttpRequest, job_id: str) -> bool:
    if conf.can_view:
        return _hook_agrees(request, job_id)
    return conf.is_public or users.may_view_jobs(getattr(request, "user", None))


def _hook_agrees(request: HttpRequest, job_id: str) -> bool:
    hook = cast("CanView", import_string(conf.can_view))
    return bool(hook(request, job_id))


def _has_permission(request: HttpRequest, permission: str) -> bool:
    user = getattr(request, "user", None)
    return user is not None and user.has_perm(permission)
