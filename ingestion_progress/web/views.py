"""The HTML pages: the list of jobs, and one job.

They are complete without JavaScript; the modules in `static/` keep them up to date.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ingestion_progress import extensions, tracker
from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import InvalidBatch, InvalidJobId, InvalidTransition, JobNotFound
from ingestion_progress.models import Job, JobEvent, clean_batch, clean_job_id
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.web.presenters import event_views, job_row, job_view
from ingestion_progress.wire.snapshots import load_snapshot, load_snapshots

PAGE_SIZE = 25
EVENTS_SHOWN = 50


@require_safe
def job_list(
    request: HttpRequest,
    template_name: str = "ingestion_progress/job_list.html",
    extra_context: Mapping[str, object] | None = None,
) -> HttpResponse:
    """The jobs, newest first. Another app can render the page with its own template."""
    if not permissions.may_view(request, "", by_token=False):
        return refusal(request)
    try:
        filters = _filters(request.GET)
    except InvalidBatch:
        return not_found(request)
    page = Paginator(_filtered(filters), PAGE_SIZE).get_page(request.GET.get("page"))
    now = timezone.now()
    snapshots = load_snapshots(page.object_list, with_workers=False)
    context = {
        "rows": [job_row(snapshot, now) for snapshot in snapshots.values()],
        "page": page,
        "filters": filters,
        "status": filters.get("status"),
        "batch": filters.get("batch"),
        "statuses": JobStatus.choices,
        "poll_url": _poll_url(filters, page.number),
        "stream_url": _stream_url(filters),
        **(extra_context or {}),
    }
    return render(request, template_name, context)


@require_safe
def job_detail(request: HttpRequest, job_id: str) -> HttpResponse:
    """The current state of one job; the custom element keeps it up to date."""
    if not permissions.may_view(request, job_id, by_token=False):
        return refusal(request)
    try:
        snapshot = load_snapshot(clean_job_id(job_id))
    except InvalidJobId:
        snapshot = None
    if snapshot is None:
        return not_found(request, job_id)
    now, job = timezone.now(), snapshot.job
    is_stoppable = not job.is_finished and job.cancel_requested_at is None
    stream_url = reverse("ingestion_progress:job_progress", args=[job_id])
    context = {
        "job": job,
        "view": job_view(snapshot, now),
        "as_of": None if job.is_finished else now,
        "events": event_views(_newest_events(job)),
        "may_cancel": is_stoppable and permissions.may_start(request, job_id),
        "stream_url": stream_url,
        "absolute_stream_url": request.build_absolute_uri(stream_url),
        "snapshot_url": reverse("ingestion_progress:api:job_snapshot", args=[job_id]),
        "admin_url": _admin_url(job_id),
        "worker_command": extensions.worker_command(),
    }
    return render(request, "ingestion_progress/job_detail.html", context)


@require_POST
def job_cancellation(request: HttpRequest, job_id: str) -> HttpResponse:
    """Requests the cancellation, and redirects to the job's page."""
    if not permissions.may_start(request, job_id):
        return refusal(request)
    try:
        tracker.request_cancellation(clean_job_id(job_id))
    except InvalidTransition as ended:
        messages.warning(request, str(ended), fail_silently=True)
    except (InvalidJobId, JobNotFound):
        return not_found(request, job_id)
    return redirect("ingestion_progress:job_detail", job_id=job_id)


def not_found(request: HttpRequest, job_id: str = "") -> HttpResponse:
    """404 for a job, or for a batch without a job id; the same page with DEBUG and without."""
    context = {"kind": "Job" if job_id else "Batch", "job_id": job_id}
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


def _newest_events(job: Job) -> QuerySet[JobEvent]:
    """Those of the current attempt, newest first."""
    events = JobEvent.objects.filter(job=job, attempt=job.attempt)
    return events.order_by("-id")[:EVENTS_SHOWN]


def _filters(query: QueryDict) -> QueryDict:
    """The valid filters of the list, which its links repeat. Raises InvalidBatch."""
    filters = QueryDict(mutable=True)
    if batch := query.get("batch"):
        filters["batch"] = clean_batch(batch)
    if (status := query.get("status")) in JobStatus.values:
        filters["status"] = status
    return filters


def _filtered(filters: QueryDict) -> QuerySet[Job]:
    jobs = Job.objects.order_by("-created_at", "id")
    if batch := filters.get("batch"):
        jobs = jobs.of_batch(batch)
    if status := filters.get("status"):
        jobs = jobs.filter(status=status)
    return jobs


def _poll_url(filters: QueryDict, page_number: int) -> str:
    page = {"limit": PAGE_SIZE, "offset": (page_number - 1) * PAGE_SIZE}
    return f"{reverse('ingestion_progress:api:jobs')}?{urlencode(page | filters.dict())}"


def _stream_url(filters: QueryDict) -> str:
    """The stream is not filtered by status: a job can change to the status of the list."""
    stream_url = reverse("ingestion_progress:jobs_progress")
    batch = filters.get("batch")
    return f"{stream_url}?{urlencode({'batch': batch})}" if batch else stream_url


def _admin_url(job_id: str) -> str:
    try:
        return reverse("admin:ingestion_progress_job_change", args=[job_id])
    except NoReverseMatch:  # the admin is optional
        return ""
