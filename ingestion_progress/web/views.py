"""The HTML page of one job, and what the pages have in common.

They are complete without JavaScript; the modules in `static/` keep them up to date.
"""

from collections.abc import Iterable

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from ingestion_progress import extensions
from ingestion_progress.auth import permissions
from ingestion_progress.auth.viewers import viewer_key
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import InvalidJobId
from ingestion_progress.models import Batch, Job, JobAttempt, JobEvent, clean_job_id
from ingestion_progress.models.clock import database_now
from ingestion_progress.web import formatting
from ingestion_progress.web.confirmations import Confirmation, confirmations
from ingestion_progress.web.job_errors import attention_view
from ingestion_progress.web.job_history import history_view
from ingestion_progress.web.job_timeline import timeline_context
from ingestion_progress.web.presenters import (
    about_view,
    attempt_views,
    event_views,
    log_line,
    metadata_views,
)
from ingestion_progress.wire.snapshots import Snapshot, load_snapshots

EVENTS_SHOWN = 50
ATTEMPTS_SHOWN = 20


@require_safe
def job_detail(request: HttpRequest, job_id: str) -> HttpResponse:
    """The current state of one job; the custom element keeps it up to date."""
    if not permissions.may_view(request, job_id, by_token=False):
        return refusal(request)
    try:
        snapshot = _snapshot(request, clean_job_id(job_id))
    except InvalidJobId:
        snapshot = None
    if snapshot is None:
        return not_found(request, job_id)
    now, job = database_now(), snapshot.job
    may_start = permissions.may_start(request, job_id)
    offered = _offered(job) if may_start else []
    document_url = extensions.document_url(request, job.document_id)
    confirmable = confirmations(job, offered, has_document=bool(document_url))
    for asked in confirmable:
        if asked.name == request.GET.get("confirm"):
            return _confirmation(request, job, asked)
    stream_url = reverse("ingestion_progress:job_progress", args=[job_id])
    context = {
        "job": job,
        **timeline_context(snapshot, now),
        "batch_name": _batch_name(job),
        "as_of": None if job.is_finished else now,
        "events": event_views(_newest_events(job)),
        "event_count": formatting.count(job.event_count),
        "events_url": reverse("ingestion_progress:api:job_events", args=[job_id]),
        "log_url": reverse("ingestion_progress:job_log", args=[job_id]),
        "attention": attention_view(job),
        "history": history_view(job, now),
        "about": about_view(job),
        "metadata": metadata_views(job),
        "attempts": attempt_views(_earlier_attempts(job)),
        "may_start": may_start,
        "offered": offered,
        "confirmations": confirmable,
        "stream_url": stream_url,
        "absolute_stream_url": request.build_absolute_uri(stream_url),
        "snapshot_url": reverse("ingestion_progress:api:job_snapshot", args=[job_id]),
        "samples_url": reverse("ingestion_progress:api:job_samples", args=[job_id]),
        "admin_url": _admin_url(job_id),
        "document_url": document_url,
        "cards": extensions.job_cards(request, job),
        "worker_command": extensions.worker_command(),
        "keepalive_seconds": f"{conf.keepalive_seconds:g}",
        "viewer_key": viewer_key(request),
    }
    return render(request, "ingestion_progress/job_detail.html", context)


@require_safe
def job_log(request: HttpRequest, job_id: str) -> HttpResponse:
    """The whole log as text: a line has its time in UTC, its level, stage, item and message."""
    if not permissions.may_view(request, job_id, by_token=False):
        return refusal(request)
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        return not_found(request, job_id)
    events = JobEvent.objects.filter(job=job).order_by("id").iterator(chunk_size=500)
    text = "".join(map(log_line, events))  # of MAX_EVENTS_PER_JOB lines at most
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    name = f"{job.document_name or job.pk}.log"
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name)
    return response


def _confirmation(request: HttpRequest, job: Job, asked: Confirmation) -> HttpResponse:
    context = {"job": job, "confirmation": asked}
    return render(request, "ingestion_progress/job_confirmation.html", context)


def _snapshot(request: HttpRequest, job_id: str) -> Snapshot | None:
    found = permissions.jobs_for(request, by_token=False).filter(pk=job_id)
    return load_snapshots(found).get(job_id)


def not_found(request: HttpRequest, job_id: str = "") -> HttpResponse:
    """404 for a job, or for a batch without a job id; the same page with DEBUG and without."""
    title = gettext("Job not found") if job_id else gettext("Batch not found")
    context = {"title": title, "job_id": job_id}
    return render(request, "ingestion_progress/not_found.html", context, status=404)


def too_many_requests(request: HttpRequest, message: str) -> HttpResponse:
    """429 with a sentence; the caller adds `Retry-After`."""
    context = {"message": message}
    return render(request, "ingestion_progress/too_many_requests.html", context, status=429)


def refusal(request: HttpRequest) -> HttpResponse:
    """Redirects an anonymous user to the login. Raises PermissionDenied (403) for another."""
    if permissions.is_logged_in(request):
        raise PermissionDenied
    return redirect_to_login(request.get_full_path())


def _offered(job: Job) -> list[str]:
    """The names of what the user can do with the job now."""
    if not job.is_finished:
        return [] if job.cancel_requested_at else ["cancellation"]
    is_partial = job.job_status.has_succeeded and job.failed_items
    retries = ["retry-failed", "retry"] if is_partial else ["retry"]
    return [*(retries if job.task else ()), "deletion"]


def _batch_name(job: Job) -> str:
    """Its id if it has no name; empty for a job without a batch."""
    return str(Batch.objects.filter(pk=job.batch).first() or job.batch) if job.batch else ""


def _earlier_attempts(job: Job) -> Iterable[JobAttempt]:
    """The newest of them, oldest first."""
    if job.attempt == 1:
        return []
    earlier = JobAttempt.objects.filter(job=job, number__lt=job.attempt)
    return reversed(earlier.order_by("-number")[:ATTEMPTS_SHOWN])


def _newest_events(job: Job) -> list[JobEvent]:
    """The newest lines of the log, of all attempts, oldest first."""
    return list(JobEvent.objects.filter(job=job).order_by("-id")[:EVENTS_SHOWN])[::-1]


def _admin_url(job_id: str) -> str:
    try:
        return reverse("admin:ingestion_progress_job_change", args=[job_id])
    except NoReverseMatch:  # the admin is optional
        return ""
