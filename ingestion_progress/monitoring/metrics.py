"""`/metrics`: the metrics of this process for Prometheus."""

import functools
from datetime import timedelta
from http import HTTPStatus

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.db import Error, transaction
from django.http import HttpRequest, HttpResponse

from ingestion_progress.api.errors import ApiError
from ingestion_progress.auth import permissions
from ingestion_progress.concurrency.request_thread import release_connections
from ingestion_progress.concurrency.worker_thread import SharedCall
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.feed import get_feed
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.pagination import RowCount
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.monitoring import prometheus
from ingestion_progress.monitoring.health import ANSWER_SECONDS
from ingestion_progress.monitoring.prometheus import JobCounts
from ingestion_progress.tracker.writer import background_writer

ENDED_WITHIN = timedelta(hours=1)
UNAUTHORIZED_MESSAGE = "Send METRICS_TOKEN as a bearer token, or log in."


@login_not_required  # `_refusal` decides; Prometheus cannot use a login page
@transaction.non_atomic_requests
async def metrics(request: HttpRequest) -> HttpResponse:
    """The text format; 401 or 403 without permission, 404 without `prometheus-client`."""
    if not permissions.has_metrics_token(request) and (refusal := await _refusal(request)):
        return refusal
    if not prometheus.is_available():
        return ApiError(ErrorCode.NOT_INSTALLED, prometheus.INSTALL_HINT).response()
    try:
        jobs = await get_job_counts().result()
    except (TimeoutError, Error):
        jobs = None
    process = prometheus.ProcessMetrics(get_feed(), background_writer.counts, jobs)
    body, content_type = prometheus.exposition(process)
    return HttpResponse(body, content_type=content_type, headers={"Cache-Control": "no-store"})


@sync_to_async(thread_sensitive=True)
def _refusal(request: HttpRequest) -> HttpResponse | None:
    try:
        if permissions.may_view(request, ""):
            return None
        code = permissions.refusal_code(request)
    finally:
        release_connections()
    if code.status == HTTPStatus.UNAUTHORIZED:
        return ApiError(code, UNAUTHORIZED_MESSAGE).response({"WWW-Authenticate": "Bearer"})
    return ApiError(code).response()


def count_jobs() -> JobCounts:
    """One query for each status, whose cost does not depend on the number of stored jobs."""
    since = database_now() - ENDED_WITHIN
    active, ended = {}, {}
    for status in JobStatus:
        jobs = Job.objects.filter(status=status)
        if status.is_final:
            ended[status.value] = RowCount.of(
                jobs.filter(finished_at__gte=since), column="finished_at"
            ).number
        else:
            active[status.value] = RowCount.of(jobs).number
    return JobCounts(active, ended)


@functools.cache
def get_job_counts() -> SharedCall[JobCounts]:
    """One per process, created on first use."""
    return SharedCall("ingestion-progress-metrics", count_jobs, timeout_seconds=ANSWER_SECONDS)
