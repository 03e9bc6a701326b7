"""What people do with the jobs that they have selected in the list, or with all that match it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from ingestion_progress.auth import permissions
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import IngestionProgressError, InvalidBatch
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.recovery import (
    DELETE_SECONDS,
    RetryScope,
    cancel_batch,
    retry_batch,
    retry_jobs,
)
from ingestion_progress.recovery.retention import prune_jobs
from ingestion_progress.web import formatting
from ingestion_progress.web.job_filters import JobFilters
from ingestion_progress.web.views import not_found, refusal

# One request covers this many jobs; the same request again covers the rest.
MAX_SELECTED = 1_000
# By the value of the button: what is asked, what a button says, and a message after it.
ACTIONS = {
    "cancel": (_("Cancel %(jobs)s?"), _("Cancel %(jobs)s"), _("Cancellation requested: %(jobs)s.")),
    "retry": (_("Retry %(jobs)s?"), _("Retry %(jobs)s"), _("Queued again: %(jobs)s.")),
    "delete": (_("Delete %(jobs)s?"), _("Delete %(jobs)s"), _("Deleted: %(jobs)s.")),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionResult:
    changed: int
    refused: Sequence[str] = ()
    """Why each of some other jobs was not changed."""


@require_POST
def job_selection(request: HttpRequest) -> HttpResponse:
    """`action` in the form is one of ACTIONS; `job` are ids, unless `all` is set.

    Shows a page that asks first, without `confirmed`, before jobs are deleted, and before anything
    is done with all jobs that match.
    """
    if not (permissions.may_view(request, "", by_token=False) and permissions.may_start(request)):
        return refusal(request)
    action = request.POST.get("action", "")
    if action not in ACTIONS:
        raise BadRequest("action: cancel, retry or delete")
    query = QueryDict(request.POST.get("filters", ""))
    try:
        filters = JobFilters.read(query)
    except InvalidBatch:
        return not_found(request)
    is_all = "all" in request.POST
    if is_all and (ignored := filters.ignored(query)):  # without it more jobs would match
        raise BadRequest(f"filters: not valid: {', '.join(ignored)}")
    job_ids = _selected(request, filters, is_all=is_all)
    if not job_ids:
        messages.warning(request, gettext("Select at least one job."), fail_silently=True)
    elif (is_all or action == "delete") and "confirmed" not in request.POST:
        return _confirmation(request, action, job_ids)
    else:
        _report(request, action, job_ids, _act(action, job_ids, permissions.user_name_of(request)))
    shown = filters.query.urlencode()
    return redirect(f"{reverse('ingestion_progress:job_list')}{'?' if shown else ''}{shown}")


def _selected(request: HttpRequest, filters: JobFilters, *, is_all: bool) -> list[str]:
    """Ids of jobs that the user may see and change, at most MAX_SELECTED."""
    jobs = filters.within(request)
    if is_all:
        parts = filters.parts(jobs, database_now())
    else:
        chosen = [each for each in request.POST.getlist("job") if "\0" not in each]
        visible = permissions.jobs_for(request, by_token=False)
        parts = [visible.filter(pk__in=chosen[:MAX_SELECTED])]
    found = [pk for part in parts for pk in part.values_list("pk", flat=True)[:MAX_SELECTED]]
    if conf.can_view:
        found = [job_id for job_id in found if permissions.may_start(request, job_id)]
    return found[:MAX_SELECTED]


def _confirmation(request: HttpRequest, action: str, job_ids: Sequence[str]) -> HttpResponse:
    question, button, _ = ACTIONS[action]
    jobs = {"jobs": formatting.jobs(len(job_ids))}
    context: dict[str, Any] = {
        "action": action,
        "question": question % jobs,
        "button": button % jobs,
        "job_ids": job_ids,
        "is_limited": len(job_ids) == MAX_SELECTED,
        "filters": request.POST.get("filters", ""),
    }
    return render(request, "ingestion_progress/selection_confirmation.html", context)


def _act(action: str, job_ids: Sequence[str], by: str) -> SelectionResult:
    jobs = Job.objects.filter(pk__in=job_ids)
    if action == "delete":
        return _delete(jobs)
    if action == "retry":
        return _retry(jobs, by)
    result = cancel_batch(jobs, by=by)
    return SelectionResult(changed=result.changed, refused=_texts(result.refused))


def _retry(jobs: JobQuerySet, by: str) -> SelectionResult:
    """Retries jobs that did not succeed, and the failed items of those that did."""
    cancelled = list(jobs.filter(status=JobStatus.CANCELLED).values_list("pk", flat=True))
    result = retry_batch(jobs, only=RetryScope.FAILED, by=by)
    refused = retry_jobs(cancelled, by=by)
    changed = result.changed + len(cancelled) - len(refused)
    return SelectionResult(changed=changed, refused=_texts({**result.refused, **refused}))


def _delete(jobs: JobQuerySet) -> SelectionResult:
    """Deletes jobs that have ended, for as long as a request may take."""
    deleted, ends_at = 0, time.monotonic() + DELETE_SECONDS
    for number in prune_jobs(jobs.finished()):
        deleted += number
        if time.monotonic() >= ends_at:
            break
    return SelectionResult(changed=deleted)


def _texts(refused: Mapping[str, IngestionProgressError]) -> list[str]:
    return [reason.translated() for reason in refused.values()]


def _report(
    request: HttpRequest, action: str, job_ids: Sequence[str], result: SelectionResult
) -> None:
    text = ACTIONS[action][2] % {"jobs": formatting.jobs(result.changed)}
    if unchanged := len(job_ids) - result.changed:
        jobs = {"jobs": formatting.jobs(unchanged)}
        text += " " + gettext("Not changed: %(jobs)s.") % jobs
    messages.info(request, text, fail_silently=True)
    for reason in result.refused[:1]:
        messages.warning(request, reason, fail_silently=True)
