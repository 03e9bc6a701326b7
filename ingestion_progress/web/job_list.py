"""The HTML page with the list of jobs: groups on its first page, and pages of one group or filter.

It is complete without JavaScript; `job-list.js` requests it again to keep it up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from ingestion_progress.auth import permissions
from ingestion_progress.auth.viewers import viewer_key
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import InvalidBatch
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.job_groups import JobGroup, count_groups
from ingestion_progress.models.job_orders import JobOrder
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.pagination import RowCount
from ingestion_progress.models.queue_positions import queue_positions
from ingestion_progress.models.spans import elapsed_ms
from ingestion_progress.models.statuses import JobResult, JobStatus
from ingestion_progress.web import formatting
from ingestion_progress.web.batches import batch_view
from ingestion_progress.web.job_filters import JobFilters
from ingestion_progress.web.job_parts import Context
from ingestion_progress.web.overview import read_overview
from ingestion_progress.web.pagination import JobPage
from ingestion_progress.web.presenters import job_row
from ingestion_progress.web.queue_speed import speed_note
from ingestion_progress.web.recent_batches import batch_rows, recent_batch_ids
from ingestion_progress.web.usual_durations import duration_bar, usual_durations
from ingestion_progress.web.views import not_found, refusal
from ingestion_progress.wire.snapshots import load_snapshots

Counts = Mapping[JobGroup, RowCount]
"""Empty if the jobs are not counted."""
ACTIVE = (JobGroup.RUNNING, JobGroup.WAITING)
# What the script requests: neither the messages nor the forms of the page.
PARTS = "ingestion_progress/partials/jobs.html"


@require_safe
@vary_on_headers("X-Requested-With")
def job_list(
    request: HttpRequest,
    template_name: str = "ingestion_progress/job_list.html",
    extra_context: Mapping[str, object] | None = None,
) -> HttpResponse:
    """Another app can render the page with its own template."""
    if not permissions.may_view(request, "", by_token=False):
        return refusal(request)
    try:
        filters = JobFilters.read(request.GET)
    except InvalidBatch:
        return not_found(request)
    is_refresh = request.headers.get("X-Requested-With") == "fetch"
    now, jobs = database_now(), filters.within(request)
    # Counting what a search for a part of a name finds would search once for each group.
    counts = {} if filters.q else count_groups(jobs, now)
    context = {
        **_shown_jobs(request.GET, filters, jobs, counts, now),
        "filters": filters.query,
        "filter_label": filters.label,
        "ignored": filters.ignored(request.GET),
        "throughput": _throughput(request, filters, counts, now),
        "is_refresh": is_refresh,
        "tabs": _tabs(filters, counts),
        "is_of_all": filters.is_of_all,
        "orders": JobOrder.choices,
        "order": filters.order,
        "is_search": filters.is_search or filters.status or filters.result or filters.sort,
        "statuses": [*JobStatus.choices, (JobResult.PARTIAL.value, JobResult.PARTIAL.label)],
        "is_active": not counts or any(counts[group].number for group in ACTIVE),
        "batch": filters.batch,
        "batch_view": batch_view(request, filters.batch)
        if filters.batch and not is_refresh
        else None,
        "owner": filters.owner,
        "may_start": permissions.may_start(request),
        "has_login": permissions.is_logged_in(request),
        "poll_url": _url(request.GET, filters),
        "stream_url": _stream_url(filters),
        "keepalive_seconds": f"{conf.keepalive_seconds:g}",
        "viewer_key": viewer_key(request),
        **(extra_context or {}),
    }
    return render(request, PARTS if is_refresh else template_name, context)


def _shown_jobs(
    query: QueryDict, filters: JobFilters, jobs: JobQuerySet, counts: Counts, now: datetime
) -> Context:
    """The groups of the first page, or else one page of jobs without groups."""
    has_queue = not counts or counts[JobGroup.WAITING].number
    positions = queue_positions() if has_queue else {}
    has_place = query.get("page", "1") != "1" or query.get("cursor") or query.get("before")
    if filters.has_groups and not has_place:
        return _overview(filters, jobs, counts, now, positions)
    page = JobPage.read(
        filters.parts(jobs, now),
        query,
        count=counts.get(JobGroup(filters.group)) if filters.group else None,
        order=filters.order,
    )
    rows = _rows(page.jobs, now, positions)
    return {"rows": rows.values(), "is_empty": not rows, "page": page}


def _overview(
    filters: JobFilters,
    jobs: JobQuerySet,
    counts: Counts,
    now: datetime,
    positions: Mapping[str, int],
) -> Context:
    batch_ids = [] if filters.batch else recent_batch_ids(jobs)
    found = read_overview(jobs, now, positions, folded=batch_ids)
    rows = _rows((job for jobs in found.values() for job in jobs), now, positions)
    return {
        "groups": [_group(group, counts[group], found[group], rows) for group in JobGroup],
        "batches": batch_rows(jobs, batch_ids),
        "is_empty": not (rows or batch_ids),
        "page": None,
    }


def _rows(jobs: Iterable[Job], now: datetime, positions: Mapping[str, int]) -> dict[str, Context]:
    snapshots = load_snapshots(jobs, with_workers=False)
    usual = usual_durations(each.job for each in snapshots.values())
    return {
        job_id: job_row(snapshot, now, positions.get(job_id, 0))
        | {"duration_bar": duration_bar(elapsed_ms(snapshot.job, now), usual.get(job_id, 0))}
        for job_id, snapshot in snapshots.items()
    }


def _group(
    group: JobGroup, count: RowCount, jobs: Sequence[Job], rows: Mapping[str, Context]
) -> dict[str, Any]:
    return {
        "name": group.value,
        "label": group.label,
        "count": _count_text(count),
        "rows": [rows[job.pk] for job in jobs],
        "has_more": not count.is_exact or count.number > len(jobs),
    }


def _throughput(
    request: HttpRequest, filters: JobFilters, counts: Counts, now: datetime
) -> str | None:
    """Only above the list of all jobs, because the queue is that of all. None: not shown."""
    has_all = permissions.visible_jobs(request, by_token=False) is None
    return speed_note(counts[JobGroup.WAITING], now) if has_all and not filters.query else None


def _tabs(filters: JobFilters, counts: Counts) -> list[dict[str, Any]]:
    return [
        {
            "name": group.value,
            "label": group.label,
            "count": _count_text(counts[group]) if group in counts else "",
            "is_current": filters.group == group,
        }
        for group in JobGroup
    ]


def _count_text(count: RowCount) -> str:
    return f"{formatting.count(count.number)}{'' if count.is_exact else '+'}"


def _url(query: QueryDict, filters: JobFilters) -> str:
    """The address of the same page of the list."""
    address = filters.query
    for name in ("page", "cursor", "before"):
        if value := query.get(name):
            address[name] = value
    shown = address.urlencode()
    return f"{reverse('ingestion_progress:job_list')}{'?' if shown else ''}{shown}"


def _stream_url(filters: JobFilters) -> str:
    """The stream is not filtered by status: a job can change to the status of the list."""
    owner = permissions.OWN if filters.owner == permissions.OWN else ""
    shown = {"batch": filters.batch, "owner": owner}
    query = urlencode({name: value for name, value in shown.items() if value})
    return f"{reverse('ingestion_progress:jobs_progress')}{'?' if query else ''}{query}"
