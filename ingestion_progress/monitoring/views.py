"""`/metrics`: this process for Prometheus."""

from __future__ import annotations

import functools
from http import HTTPStatus

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.db import Error, transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse

from ingestion_progress.auth import permissions
from ingestion_progress.concurrency.questions import Question
from ingestion_progress.concurrency.threads import release_connections
from ingestion_progress.feed import Feed, get_feed
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.monitoring import metrics as numbers
from ingestion_progress.tracker.writer import background_writer

REFUSALS = {
    401: ("unauthorized", "Metrics need METRICS_TOKEN as a bearer token, or a login."),
    403: ("forbidden", "This user may not see metrics."),
}
NOT_INSTALLED = "Metrics need prometheus-client: install django-ingestion-progress[metrics]."


@login_not_required  # `access` decides; Prometheus cannot use a login page
@transaction.non_atomic_requests
async def metrics(request: HttpRequest) -> HttpResponse:
    """The text format; 401 or 403 for strangers, 404 without `prometheus-client`."""
    if not permissions.has_metrics_token(request) and (status := await _refused_with(request)):
        code, message = REFUSALS[status]
        headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
        return JsonResponse({"code": code, "message": message}, status=status, headers=headers)
    if not numbers.is_available():
        answer = {"code": "not_installed", "message": NOT_INSTALLED}
        return JsonResponse(answer, status=HTTPStatus.NOT_FOUND)
    try:
        jobs = await get_job_counts().answer()
    except (TimeoutError, Error):
        jobs = None
    body, content_type = numbers.exposition(_readings(get_feed(), jobs))
    return HttpResponse(body, content_type=content_type, headers={"Cache-Control": "no-store"})


@sync_to_async(thread_sensitive=True)
def _refused_with(request: HttpRequest) -> int | None:
    try:
        if permissions.may_view(request, ""):
            return None
        return permissions.refusal_status(request)
    finally:
        release_connections()


def count_jobs() -> dict[str, int]:
    """By status, those without a job included."""
    found = dict(Job.objects.order_by().values_list("status").annotate(Count("pk")))
    return {status: found.get(status, 0) for status in JobStatus.values}


@functools.cache
def get_job_counts() -> Question[dict[str, int]]:
    """The process's own, made on first use."""
    return Question(count_jobs)


def _readings(feed: Feed, jobs: dict[str, int] | None) -> numbers.Readings:
    return numbers.Readings(
        feed=feed.counts,
        writer=background_writer.counts,
        streams=feed.open_stream_count,
        subscribers=feed.subscriber_count,
        watched_jobs=feed.watched_job_count,
        poll_lag_seconds=feed.poll_lag_seconds,
        jobs=jobs,
    )
