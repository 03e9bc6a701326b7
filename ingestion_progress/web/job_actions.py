"""What a person can do on the page of a job: cancel, retry or delete it, resolve its errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from ingestion_progress import tracker
from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import (
    InvalidJobId,
    InvalidTransition,
    JobNotFound,
    JobNotRepeatable,
    ProgressUnavailable,
)
from ingestion_progress.models import clean_job_id
from ingestion_progress.recovery import RetryScope, retry_job
from ingestion_progress.web.job_errors import change_resolution
from ingestion_progress.web.views import not_found, refusal


@require_POST
def job_cancellation(request: HttpRequest, job_id: str) -> HttpResponse:
    return _act(request, job_id, _by_user(request, tracker.request_cancellation))


@require_POST
def job_retry(request: HttpRequest, job_id: str) -> HttpResponse:
    """`only` in the form is a RetryScope."""
    only = request.POST.get("only", RetryScope.ALL.value)
    if only not in list(RetryScope):
        raise BadRequest("only: all or failed")
    return _act(request, job_id, _by_user(request, partial(retry_job, only=only)))


@require_POST
def job_deletion(request: HttpRequest, job_id: str) -> HttpResponse:
    """Shows the list of jobs afterwards."""
    deleted = redirect("ingestion_progress:job_list")
    response = _act(request, job_id, tracker.delete_job, deleted)
    if response is deleted:
        messages.success(request, gettext("The job is deleted."), fail_silently=True)
    return response


@require_POST
def error_resolution(request: HttpRequest, job_id: str, error_id: int) -> HttpResponse:
    change = partial(change_resolution, request, error_id=error_id)
    return _act(request, job_id, change)


def _by_user(request: HttpRequest, act: Callable[..., object]) -> Callable[[str], object]:
    return partial(act, by=permissions.user_name_of(request))


def _act(
    request: HttpRequest,
    job_id: str,
    act: Callable[[str], object],
    done: HttpResponse | None = None,
) -> HttpResponse:
    """Calls `act` for a job if the user may. Returns `done`, or a redirect to the job's page."""
    if not permissions.may_start(request, job_id):
        return refusal(request)
    job_page = redirect("ingestion_progress:job_detail", job_id=job_id)
    try:
        if permissions.is_hidden(request, clean_job_id(job_id), by_token=False):
            return not_found(request, job_id)
        act(job_id)
    except (InvalidTransition, JobNotRepeatable, ProgressUnavailable) as refused:
        messages.warning(request, refused.translated(), fail_silently=True)
        return job_page
    except (InvalidJobId, JobNotFound):
        return not_found(request, job_id)
    return done or job_page
