"""Limits failed logins, for any view that takes a login form."""

import functools
from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ingestion_progress.auth import quotas
from ingestion_progress.exceptions import QuotaExceeded
from ingestion_progress.web.views import too_many_requests

View = Callable[..., HttpResponseBase]


def limit_logins(view: View) -> View:
    """Answers 429 after too many failed logins from an address or for a name.

    The view redirects after a login, as Django's `LoginView` and the admin's do. A login counts
    before its password is checked, so that many at a time cannot exceed the limit. The answer is
    the same whether there is such a user or not.
    """

    @functools.wraps(view)
    def limited(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        name = request.POST.get("username", "")
        try:
            quotas.count(request, quotas.FAILED_LOGINS, name)
        except QuotaExceeded as refused:
            response = too_many_requests(request, refused.translated())
            for header, value in refused.headers.items():
                response[header] = value
            return response
        answer = view(request, *args, **kwargs)
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status_code < HTTPStatus.BAD_REQUEST:
            quotas.give_back(request, quotas.FAILED_LOGINS, name)
        return answer

    return limited
