"""Decides who may view, start, cancel, retry and delete jobs, in streams, the API and pages."""

import copy
import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.db import Error as DatabaseFailure
from django.http import HttpRequest, QueryDict
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from ingestion_progress.auth import revocations, tokens, users
from ingestion_progress.auth.visibility import jobs_by_rule
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import AccessRefused, ErrorCode
from ingestion_progress.models import Job
from ingestion_progress.models.jobs import JobQuerySet

CanView = Callable[[HttpRequest, str], bool]
FindUser = Callable[[str], Any]

logger = logging.getLogger(__name__)

START_JOB = "ingestion_progress.start_job"
URL_PARAMETER = "token"
OWN = "me"


def is_open() -> bool:
    """May everybody view every job? Then no request needs a check."""
    return conf.is_public and not (conf.can_view or conf.visible_jobs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """Permission to view a job."""

    user_id: str = ""
    """Primary key of the viewer, or of the user who issued the token; empty without a user."""
    expires_at: float | None = None
    """Unix seconds; None without a token."""


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
    """Permission to view the job, whether it exists or not. May query the database.

    The id `""` means all jobs together: their list, and the search. A token in the request takes
    precedence over the session. Raises AccessRefused.
    """
    text = presented_token(request)
    if is_open():
        return Grant()
    if text and by_token:
        return _granted_by(tokens.verify(text), request, job_id, find_user or _find_user)
    if not _may_view_as_user(request, job_id):
        raise AccessRefused(refusal_code(request))
    return Grant(user_id=user_id_of(request))


def grant_view_of_each(request: HttpRequest, job_ids: Iterable[str]) -> Grant:
    """Permission to view all of these jobs, at least one. Raises AccessRefused."""
    find_user = functools.cache(_find_user)
    grants = [grant_view(request, job_id, find_user=find_user) for job_id in job_ids]
    return grants[0]


def visible_jobs(
    request: HttpRequest, *, by_token: bool = True, find_user: FindUser | None = None
) -> JobQuerySet | None:
    """The jobs that exist for a request which may view jobs; None: all jobs.

    As with CAN_VIEW, the rule gets the user who is logged in, or the one who issued the token. The
    owner of the key has decided about a token without a user. A refused token shows nothing.
    """
    if not conf.visible_jobs:
        return None
    if by_token and (text := presented_token(request)):
        try:
            issuer_id = tokens.verify(text).issuer_id
        except AccessRefused:
            return Job.objects.none()
        if not issuer_id:
            return None
        user = (find_user or _find_user)(issuer_id)
    elif find_user is not None and (user_id := user_id_of(request)):
        user = find_user(user_id)
    else:
        return jobs_by_rule(request)
    return Job.objects.none() if user is None else jobs_by_rule(_as_user(request, user))


def jobs_for(request: HttpRequest, *, by_token: bool = True) -> JobQuerySet:
    """The jobs that exist for a request which may view jobs."""
    found = visible_jobs(request, by_token=by_token)
    return Job.objects.all() if found is None else found


def is_hidden(request: HttpRequest, job_id: str, *, by_token: bool = True) -> bool:
    """Does VISIBLE_JOBS leave this job out? `job_id` must be valid."""
    found = visible_jobs(request, by_token=by_token)
    return found is not None and not found.filter(pk=job_id).exists()


def visible_jobs_again(requests: Iterable[HttpRequest]) -> list[JobQuerySet | None]:
    """The same as `visible_jobs`, with users who are read again. A rule that raises shows nothing.

    Raises Django's database errors.
    """
    each = list(requests)
    found = users.read({user_id for request in each if (user_id := _grantor_of(request))})
    return [_visible_again(request, found.get) for request in each]


def may_start(request: HttpRequest, job_id: str = "") -> bool:
    """May this request start jobs and, given an id, cancel, retry or delete that job?

    The project's CAN_VIEW hook must permit the job, too. May query the database.
    """
    user = getattr(request, "user", None)
    if not (conf.is_public or (user is not None and user.has_perm(START_JOB))):
        return False
    return not (job_id and conf.can_view) or _hook_agrees(request, job_id)


def has_metrics_token(request: HttpRequest) -> bool:
    """Does the request carry METRICS_TOKEN as a bearer token? Needs no database."""
    return conf.metrics_token != "" and constant_time_compare(
        bearer_token(request) or "", conf.metrics_token
    )


def is_logged_in(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)  # absent without AuthenticationMiddleware
    return user is not None and user.is_authenticated


def refusal_code(request: HttpRequest) -> ErrorCode:
    """The error for a request without permission."""
    return ErrorCode.FORBIDDEN if is_logged_in(request) else ErrorCode.UNAUTHORIZED


def user_of(request: HttpRequest) -> Any:
    """The user who is logged in, or None."""
    return cast("Any", request).user if is_logged_in(request) else None


def user_id_of(request: HttpRequest) -> str:
    """Primary key of the user who is logged in; empty without one."""
    return str(cast("Any", request).user.pk) if is_logged_in(request) else ""


def chosen_user_id(request: HttpRequest, text: str, *, by_token: bool = True) -> Any:
    """The primary key that a client names: `me` is the viewer, also of a token. None: no user."""
    if text == OWN:
        text = _grantor_of(request) if by_token else user_id_of(request)
    return users.key_of(text)


def user_name_of(request: HttpRequest) -> str:
    """For logs, who acts; empty without a login."""
    return str(cast("Any", request).user.get_username()) if is_logged_in(request) else ""


def recheck(granted: Iterable[tuple[HttpRequest, str]]) -> list[str]:
    """Checks granted requests for jobs again. Returns the error code of each refusal, "" if none.

    Users are read again, many at a time. Raises Django's database errors; any other exception of
    the project's CAN_VIEW hook counts as a refusal.
    """
    each = list(granted)
    found = users.read({user_id for request, _ in each if (user_id := _grantor_of(request))})
    return [_refusal(request, job_id, found.get) for request, job_id in each]


@sensitive_variables()
def presented_token(request: HttpRequest) -> str:
    """The token of the request, from its header or else its URL; empty without one.

    Removes the token from the URL, because logs and error pages keep URLs: Django's, and those of
    servers that log a request after its response.
    """
    from_url: str | None = getattr(request, "stream_token", None)
    if from_url is None:
        from_url = _take_from_url(request)
        request.stream_token = from_url  # type: ignore[attr-defined]
    bearer = bearer_token(request)
    return from_url if bearer is None else bearer


def bearer_token(request: HttpRequest) -> str | None:
    """The token in `Authorization: Bearer …`; None without such a header."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def _take_from_url(request: HttpRequest) -> str:
    if URL_PARAMETER not in request.GET:
        return ""
    query = request.GET.copy()
    taken = str(query.pop(URL_PARAMETER)[-1])
    request.META["QUERY_STRING"] = query.urlencode()
    request.GET = QueryDict(request.META["QUERY_STRING"], encoding=request.encoding)
    if scope := getattr(request, "scope", None):
        scope["query_string"] = request.META["QUERY_STRING"].encode("ascii")
    return taken


def _grantor_of(request: HttpRequest) -> str:
    """Primary key of the user on whom the permission depends; empty without one."""
    if not (text := presented_token(request)):
        return user_id_of(request)
    try:
        return tokens.verify(text).issuer_id
    except AccessRefused:
        return ""


def _refusal(request: HttpRequest, job_id: str, find_user: FindUser) -> str:
    try:
        if not presented_token(request) and (user_id := user_id_of(request)):
            user = find_user(user_id)
            if user is None or not user.is_active:
                return ErrorCode.FORBIDDEN
            request = _as_user(request, user)
        grant_view(request, job_id, find_user=find_user)
    except AccessRefused as refused:
        return refused.code
    except DatabaseFailure:
        raise
    except Exception:
        logger.exception("access_rule_failed", extra={"rule": conf.can_view})
        return ErrorCode.FORBIDDEN
    return ""


def _visible_again(request: HttpRequest, find_user: FindUser) -> JobQuerySet | None:
    try:
        return visible_jobs(request, find_user=find_user)
    except DatabaseFailure:
        raise
    except Exception:
        logger.exception("access_rule_failed", extra={"rule": conf.visible_jobs})
        return Job.objects.none()


def _granted_by(
    token: tokens.StreamToken, request: HttpRequest, job_id: str, find_user: FindUser
) -> Grant:
    if revocations.is_revoked(token):
        raise AccessRefused(ErrorCode.TOKEN_REVOKED)
    if not token.covers(job_id):
        raise AccessRefused(ErrorCode.FORBIDDEN)
    if token.issuer_id:
        issuer = find_user(token.issuer_id)
        is_active = issuer is not None and issuer.is_active
        if not is_active or not _may_view_as_user(_as_user(request, issuer), job_id):
            raise AccessRefused(ErrorCode.FORBIDDEN)
    return Grant(user_id=token.issuer_id, expires_at=token.expires_at)


def _find_user(user_id: str) -> Any:
    try:
        return get_user_model().objects.filter(pk=user_id).first()
    except (ValueError, TypeError):  # a token of another service, whose ids differ
        return None


def _as_user(request: HttpRequest, user: Any) -> HttpRequest:
    """A copy of the request with this user."""
    copied = copy.copy(request)
    copied.user = user
    return copied


def _may_view_as_user(request: HttpRequest, job_id: str) -> bool:
    if conf.can_view:
        return _hook_agrees(request, job_id)
    return conf.is_public or users.may_view_jobs(getattr(request, "user", None))


def _hook_agrees(request: HttpRequest, job_id: str) -> bool:
    hook = cast("CanView", import_string(conf.can_view))
    return bool(hook(request, job_id))
