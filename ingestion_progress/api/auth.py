"""Who may use an operation, and whether a browser was tricked into asking.

A request that comes with a login needs Django's CSRF token for everything but reading, also
where the site is public: what is done in somebody's name was meant by them. Without a login
(public sites, curl) there is no cookie to abuse, but any web page could still make a
developer's browser post to localhost; so a foreign `Origin` is refused. Programs send none.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import is_same_domain
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from ingestion_progress.api.errors import ApiError
from ingestion_progress.auth import permissions
from ingestion_progress.conf import conf

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class SessionGuard(AuthBase):
    """Returns True for who may pass; raises ApiError or AccessRefused for who may not."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    csrf = True  # the docs page sends the token along

    def __init__(self) -> None:
        self.openapi_name = settings.SESSION_COOKIE_NAME
        super().__init__()

    def __call__(self, request: HttpRequest) -> bool:
        if not self.permits(request):
            raise not_permitted(request)
        if request.method not in SAFE_METHODS:
            refuse_forgery(request)
        return True

    def permits(self, request: HttpRequest) -> bool:
        raise NotImplementedError


class MayView(SessionGuard):
    openapi_description = "A login that may view jobs. Not needed where the site is public."

    def permits(self, request: HttpRequest) -> bool:
        permissions.grant_view(request, job_id_of(request))
        return True


class MayMint(SessionGuard):
    openapi_description = (
        "A login that may view the jobs, and the CSRF token in `X-CSRFToken`; never a token. "
        "Not needed where the site is public."
    )

    def permits(self, request: HttpRequest) -> bool:
        # A rule of the project may know people without a login; the operation asks about each job.
        return conf.is_public or bool(conf.can_view) or is_logged_in(request)


class MayStart(SessionGuard):
    openapi_description = (
        "A login that may start, cancel and delete jobs, and the CSRF token in `X-CSRFToken`. "
        "Not needed where the site is public."
    )

    def permits(self, request: HttpRequest) -> bool:
        return permissions.may_start(request, job_id_of(request))


def job_id_of(request: HttpRequest) -> str:
    """The job in the address; empty where it names none."""
    match = request.resolver_match
    return match.kwargs.get("job_id", "") if match else ""


def not_permitted(request: HttpRequest) -> ApiError:
    """403 for a user, 401 for anybody else."""
    return ApiError("forbidden" if is_logged_in(request) else "unauthorized")


def is_logged_in(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)  # a project may do without Django's users
    return user is not None and user.is_authenticated


def refuse_forgery(request: HttpRequest) -> None:
    """Raises ApiError for a request that another site may have made a browser send."""
    if is_logged_in(request):
        if check_csrf(request):
            raise ApiError(
                "csrf_failed",
                "Send the CSRF token: the value of the cookie "
                f"{settings.CSRF_COOKIE_NAME} in the header X-CSRFToken.",
            )
    elif is_foreign(request):
        raise ApiError(
            "csrf_failed",
            "The request comes from a page of another origin. "
            "Add that origin to CSRF_TRUSTED_ORIGINS if it is one of yours.",
        )


def is_foreign(request: HttpRequest) -> bool:
    """Did a browser send this on behalf of a page that is neither ours nor trusted?"""
    origin = request.headers.get("Origin")
    if origin is None or request.headers.get("Sec-Fetch-Site") == "same-origin":
        return False
    if origin == f"{request.scheme}://{request.get_host()}":
        return False
    asking = urlsplit(origin)
    trusted = (urlsplit(pattern) for pattern in settings.CSRF_TRUSTED_ORIGINS)
    return not any(
        asking.scheme == allowed.scheme
        and is_same_domain(asking.netloc, allowed.netloc.lstrip("*"))
        for allowed in trusted
    )
