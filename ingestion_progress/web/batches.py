"""The head of a batch's page, and the forms on it."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from ingestion_progress.auth import permissions
from ingestion_progress.auth.batches import batch_for, is_whole
from ingestion_progress.exceptions import BatchActive, BatchNotFound, InvalidCount
from ingestion_progress.models import Batch
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.recovery import (
    DELETE_SECONDS,
    BatchDeletion,
    BatchResult,
    cancel_batch,
    delete_batch,
    retry_batch,
)
from ingestion_progress.tracker.batches import change_batch
from ingestion_progress.web import formatting
from ingestion_progress.web.job_parts import Context
from ingestion_progress.web.presenters import remaining_text
from ingestion_progress.wire.batches import batch_progress


def batch_view(request: HttpRequest, batch_id: str) -> Context | None:
    """What the head of the page shows; None if there is no such batch."""
    try:
        batch = batch_for(request, batch_id, by_token=False)
    except BatchNotFound:
        return None
    found = permissions.jobs_for(request, by_token=False).of_batch(batch.pk)
    progress = batch_progress(found, [batch])[batch.pk]
    counts = progress.counts
    may_start = permissions.may_start(request)
    may_change = may_start and is_whole(request, batch, by_token=False)
    return {
        "batch": batch,
        "api_url": reverse("ingestion_progress:api:batch", args=[batch.pk]),
        "percent": formatting.number(progress.overall_progress_percent),
        "percent_text": formatting.percent(progress.overall_progress_percent),
        "remaining": remaining_text(progress.forecast),
        "counts": [formatting.jobs_with(name, number) for name, number in counts if number],
        "may_cancel": may_start and counts.active,
        "may_retry": may_start and (counts.failed or counts.lost),
        "may_change": may_change,
        "may_delete": may_change and not counts.active,
    }


@require_POST
def batch_cancellation(request: HttpRequest, batch_id: str) -> HttpResponse:
    return _act(request, batch_id, cancel_batch, gettext("Cancellation requested"))


@require_POST
def batch_retry(request: HttpRequest, batch_id: str) -> HttpResponse:
    return _act(request, batch_id, retry_batch, gettext("Queued again"))


@require_POST
def batch_change(request: HttpRequest, batch_id: str) -> HttpResponse:
    """`name` and `max_running` in the form; `list` in it leads back to the list of batches."""
    batch = _whole(request, batch_id)
    try:
        limit = int(request.POST.get("max_running") or 0)
        change_batch(batch.pk, name=request.POST.get("name", "").strip(), max_running=limit)
    except (InvalidCount, ValueError) as invalid:
        raise BadRequest(gettext("max_running: a whole number of at least 0")) from invalid
    is_in_list = "list" in request.POST
    return redirect("ingestion_progress:batch_list") if is_in_list else _page_of(batch.pk)


@require_POST
def batch_deletion(request: HttpRequest, batch_id: str) -> HttpResponse:
    batch = _whole(request, batch_id)
    try:
        done = delete_batch(batch.pk, seconds=DELETE_SECONDS)
    except BatchActive as active:
        messages.warning(request, active.translated(), fail_silently=True)
        return _page_of(batch.pk)
    if done.left:
        messages.warning(request, deletion_text(done), fail_silently=True)
        return _page_of(batch.pk)
    values = {"batch": batch, "jobs": formatting.jobs(done.deleted)}
    text = gettext("Deleted: %(batch)s, %(jobs)s.") % values
    messages.success(request, text, fail_silently=True)
    return redirect("ingestion_progress:job_list")


def deletion_text(done: BatchDeletion) -> str:
    """After a deletion that has to be continued."""
    return gettext(
        "Deleted so far: %(deleted)s. To delete the other %(left)s, delete the batch again."
    ) % {"deleted": formatting.jobs(done.deleted), "left": formatting.jobs(done.left)}


def _act(
    request: HttpRequest, batch_id: str, act: Callable[..., BatchResult], done: str
) -> HttpResponse:
    batch = _permitted(request, batch_id)
    found: JobQuerySet = permissions.jobs_for(request, by_token=False).of_batch(batch.pk)
    result = act(found, by=permissions.user_name_of(request))
    messages.info(request, f"{done}: {formatting.jobs(result.changed)}.", fail_silently=True)
    for reason in list(result.refused.values())[:1]:
        values = {"jobs": formatting.jobs(len(result.refused)), "reason": reason.translated()}
        text = gettext("Refused: %(jobs)s. %(reason)s") % values
        messages.warning(request, text, fail_silently=True)
    return _page_of(batch.pk)


def _permitted(request: HttpRequest, batch_id: str) -> Batch:
    """Raises PermissionDenied, or Http404 for a batch that does not exist for the user."""
    is_permitted = permissions.may_view(request, "", by_token=False)
    if not (is_permitted and permissions.may_start(request)):
        raise PermissionDenied
    try:
        return batch_for(request, batch_id, by_token=False)
    except BatchNotFound as missing:
        raise Http404 from missing


def _whole(request: HttpRequest, batch_id: str) -> Batch:
    batch = _permitted(request, batch_id)
    if not is_whole(request, batch, by_token=False):
        raise PermissionDenied
    return batch


def _page_of(batch_id: str) -> HttpResponse:
    return redirect(f"{reverse('ingestion_progress:job_list')}?{urlencode({'batch': batch_id})}")
