"""Authentication of the API's operations, and their protection against forged requests.

A request with a login needs Django's CSRF token for everything but reading, on public sites too.
A request without a login has no cookie to abuse, but any web page could make a developer's browser
post to localhost; so a foreign `Origin` is refused. Programs send no `Origin`.
"""

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import is_same_domain
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from ingestion_progress.api.errors import ApiError
from ingestion_progress.auth import permissions
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import ErrorCode

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class SessionAuth(AuthBase):
    """Returns True for a permitted request; raises ApiError or AccessRefused for any other."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    csrf = True  # the docs page sends the token along

    def __init__(self) -> None:
        self.openapi_name = settings.SESSION_COOKIE_NAME
        super().__init__()

    def __call__(self, request: HttpRequest) -> bool:
        if not self.permits(request):
            raise ApiError(permissions.refusal_code(request))
        if request.method not in SAFE_METHODS:
            refuse_forgery(request)
        return True

    def permits(self, request: HttpRequest) -> bool:
        raise NotImplementedError


class MayView(SessionAuth):
    openapi_description = "A login that may view jobs. Not needed where the site is public."

    def permits(self, request: HttpRequest) -> bool:
        permissions.grant_view(request, job_id_of(request))
        return True


class MayIssueToken(SessionAuth):
    openapi_description = (
        "A login that may view the jobs, and the CSRF token in `X-CSRFToken`; never a token. "
        "Not needed where the site is public."
    )

    def permits(self, request: HttpRequest) -> bool:
        # The CAN_VIEW hook may permit people without a login; the operation checks each job.
        is_hooked = conf.is_public or bool(conf.can_view)
        return is_hooked or permissions.is_logged_in(request)


class LoggedIn(SessionAuth):
    openapi_description = "A login, and the CSRF token in `X-CSRFToken`."

    def permits(self, request: HttpRequest) -> bool:
        return permissions.is_logged_in(request)


class MayStart(SessionAuth):
    openapi_description = (
        "A login that may start, cancel, retry and delete jobs, and the CSRF token in "
        "`X-CSRFToken`. Not needed where the site is public."
    )

    def permits(self, request: HttpRequest) -> bool:
        return permissions.may_start(request, job_id_of(request))


class MayStartInBatches(MayStart):
    openapi_description = (
        "A login that may start, cancel, retry and delete jobs and view the list of jobs, and the "
        "CSRF token in `X-CSRFToken`. Not needed where the site is public."
    )

    def permits(self, request: HttpRequest) -> bool:
        permissions.grant_view(request, "", by_token=False)
        return super().permits(request)


def job_id_of(request: HttpRequest) -> str:
    """The job id in the URL; empty if there is none."""
    match = request.resolver_match
    return match.kwargs.get("job_id", "") if match else ""


def refuse_forgery(request: HttpRequest) -> None:
    """Raises ApiError for a request that another site may have made a browser send."""
    if permissions.is_logged_in(request):
        if check_csrf(request):
            raise ApiError(
                ErrorCode.CSRF_FAILED,
                "Send the CSRF token: the value of the cookie "
                f"{settings.CSRF_COOKIE_NAME} in the header X-CSRFToken.",
            )
    elif is_foreign(request):
        raise ApiError(
            ErrorCode.CSRF_FAILED,
            "The request comes from a page of another origin. "
            "Add that origin to CSRF_TRUSTED_ORIGINS if it is yours.",
        )


def is_foreign(request: HttpRequest) -> bool:
    """Does the request come from a browser page of another, untrusted origin?"""
    origin = request.headers.get("Origin")
    if origin is None or request.headers.get("Sec-Fetch-Site") == "same-origin":
        return False
    if origin == f"{request.scheme}://{request.get_host()}":
        return False
    sender = urlsplit(origin)
    trusted = (urlsplit(pattern) for pattern in settings.CSRF_TRUSTED_ORIGINS)
    return not any(
        sender.scheme == allowed.scheme
        and is_same_domain(sender.netloc, allowed.netloc.lstrip("*"))
        for allowed in trusted
    )
