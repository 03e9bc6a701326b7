"""The list of jobs and the page of one job."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import (  # type: ignore[attr-defined]
    IS_FACETS_VAR,
    ORDER_VAR,
)
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.functional import lazy
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ingestion_progress import extensions, tracker
from ingestion_progress.admin import actions, display
from ingestion_progress.admin.columns import LIVE_COLUMNS, JobColumns
from ingestion_progress.admin.error_groups import ErrorGroupForms
from ingestion_progress.admin.fields import count_of, time_of
from ingestion_progress.admin.filters import (
    AboutFilter,
    BatchFilter,
    DateFilter,
    OrderFilter,
    OwnerFilter,
    ResultFilter,
)
from ingestion_progress.admin.inlines import AttemptInline, EventInline, StageInline, WorkerInline
from ingestion_progress.auth import permissions
from ingestion_progress.auth.viewers import viewer_key
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import InvalidTransition, ProgressUnavailable
from ingestion_progress.models import Job, JobAttempt, JobError, JobEvent, Stage, Worker
from ingestion_progress.models.job_search import MAX_SEARCHED, found_jobs, newest_jobs
from ingestion_progress.models.pagination import FirstPages
from ingestion_progress.web import formatting

if TYPE_CHECKING:
    JobModelAdmin = admin.ModelAdmin[Job]
else:
    JobModelAdmin = admin.ModelAdmin

# The sections of a job's page. Inner tuples are one line each, so that the stages are near the top.
SUMMARY = (
    ("document_name", "document_id", "id", "batch_link"),
    ("owned_by", "started_by", "about_model", "about_id"),
    ("shown_status", "progress", "liveness"),
    "shown_error",
    "metadata",
)
TIMES: dict[str, Any] = {
    name: time_of(name)
    for name in (
        *("created_at", "started_at", "finished_at", "cancel_requested_at"),
        *("cancel_acknowledged_at", "queued_at", "retry_at", "heartbeat_at", "updated_at"),
    )
}
TIMING = (
    (TIMES["created_at"], TIMES["started_at"], TIMES["finished_at"]),
    ("elapsed", "remaining"),
    (TIMES["cancel_requested_at"], "cancel_requested_by", TIMES["cancel_acknowledged_at"]),
)
COUNTS = tuple(
    tuple(map(count_of, names))
    for names in (
        ("total_chunks", "total_images"),
        ("error_count", "failed_items"),
        ("entities_total", "relations_total", "neo4j_writes"),
        ("qdrant_writes", "pool_size", "queue_depth"),
    )
)
RECORD = (
    ("attempt", "failed_attempts", "epoch", "revision"),
    ("task", "priority", "writer", TIMES["queued_at"], TIMES["retry_at"]),
    ("event_count", TIMES["heartbeat_at"], TIMES["updated_at"]),
)


def _is_of_newest(request: HttpRequest) -> bool:
    """Are only the newest jobs sorted and counted? No order but the usual one has an index."""
    has_order = ORDER_VAR in request.GET or OrderFilter.chosen(request) is not None
    return has_order or IS_FACETS_VAR in request.GET


def _newest_note() -> str:
    values = {"number": formatting.count(MAX_SEARCHED)}
    return gettext("Sorted and counted among the newest %(number)s jobs.") % values


@admin.register(Job)
class JobAdmin(JobColumns, ErrorGroupForms, JobModelAdmin):
    """Read-only, apart from its actions: only the tracker writes."""

    list_display = ("document", *LIVE_COLUMNS)
    list_filter = (
        *("status", ResultFilter, ("created_at", DateFilter), OwnerFilter, BatchFilter),
        *(AboutFilter, OrderFilter),
    )
    search_fields = ("id", "document_id", "document_name", "batch")
    search_help_text = format_lazy(
        _(
            "A job id, document id or batch; or part of a document name, among the newest "
            "{number} jobs."
        ),
        number=lazy(formatting.count, str)(MAX_SEARCHED),
    )
    list_per_page = 50
    # Without a count of all rows, whose cost grows with the table.
    show_full_result_count = False
    paginator = FirstPages
    actions = (
        actions.cancel_jobs,
        actions.retry_selected,
        actions.retry_failed_items,
        actions.mark_selected_lost,
        actions.delete_selected,
    )

    fieldsets = (
        (None, {"fields": SUMMARY}),
        (_("Timing"), {"fields": TIMING}),
        (_("Counts"), {"fields": (*COUNTS, "counters")}),
        (_("Record"), {"fields": RECORD, "classes": ("collapse",)}),
    )
    readonly_fields = (
        *("batch_link", "owned_by", "shown_status", "shown_error"),
        *("progress", "liveness", "elapsed", "remaining"),
        *TIMES.values(),
        *(field for line in COUNTS for field in line),
    )
    inlines = (StageInline, WorkerInline, AttemptInline, EventInline)

    class Media:
        css = {"all": ["ingestion_progress/admin.css"]}
        js = [forms.Script("ingestion_progress/admin-list.js", type="module")]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        stages = Prefetch("stages", Stage.objects.order_by("position"))
        jobs = super().get_queryset(request)
        visible = permissions.visible_jobs(request, by_token=False)
        if visible is not None:
            # `pk__in` would read the ids of all visible jobs.
            jobs = visible.order_by(*self.get_ordering(request))
        return jobs.prefetch_related(stages)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        if _is_of_newest(request):
            queryset = newest_jobs(queryset)
        return found_jobs(queryset, search_term), False

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> Paginator[Any]:
        """Django's page of a job's history has rows of another model."""
        paginator = self.paginator if queryset.model is Job else Paginator
        return paginator(queryset, *args, **kwargs)

    def get_ordering(self, request: HttpRequest) -> Any:
        order = OrderFilter.chosen(request)
        return [order] if order is not None else super().get_ordering(request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        live = {
            "stream_url": display.url("jobs_progress"),
            "keepalive_seconds": conf.keepalive_seconds,
            "viewer_key": viewer_key(request),
            "newest_note": _newest_note() if _is_of_newest(request) else "",
        }
        return super().changelist_view(request, (extra_context or {}) | live)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Job], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """An action of a job's page leads back to it."""
        response = super().response_action(request, queryset, *args, **kwargs)
        job_id = request.POST.get(actions.PAGE_OF)
        if not job_id or not isinstance(response, HttpResponseRedirect):
            return response
        name, site = "admin:ingestion_progress_job_change", self.admin_site.name
        return redirect(reverse(name, args=[quote(job_id)], current_app=site))

    # Permissions

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        is_deletable = obj is None or obj.is_finished
        return is_deletable and super().has_delete_permission(request, obj)

    # Deleting

    def get_deleted_objects(
        self, objs: Iterable[Job], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Counts related rows; Django would list every event."""
        jobs = list(objs)
        ids = [job.pk for job in jobs]
        counts = {
            gettext("jobs"): len(jobs),
            gettext("stages"): Stage.objects.filter(job_id__in=ids).count(),
            gettext("workers"): Worker.objects.filter(job_id__in=ids).count(),
            gettext("attempts"): JobAttempt.objects.filter(job_id__in=ids).count(),
            gettext("groups of errors"): JobError.objects.filter(job_id__in=ids).count(),
            gettext("events"): JobEvent.objects.filter(job_id__in=ids).count(),
        }
        is_allowed = all(self.has_delete_permission(request, job) for job in jobs)
        refused = set() if is_allowed else {"job"}
        return [str(job) for job in jobs], counts, refused, []

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        job: Job = context["object"]
        page = extensions.document_admin_url(request, job.document_id)
        response: HttpResponse = super().render_delete_form(
            request, context | {"document_url": page}
        )
        return response

    def delete_model(self, request: HttpRequest, obj: Job) -> None:
        try:
            tracker.delete_job(obj.pk)
        except (InvalidTransition, ProgressUnavailable) as error:  # restarted since, or locked
            raise PermissionDenied(str(error)) from error

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        for job in queryset:
            self.delete_model(request, job)

    # The page of one job

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        job: Job = context["original"]
        is_permitted = self.has_start_permission(request)
        context |= {
            "live_page_url": display.url("job_detail", job.pk),
            "stream_url": display.url("job_progress", job.pk),
            "document_url": extensions.document_admin_url(request, job.document_id),
            "log_url": display.url("job_log", job.pk),
            "attention": self.attention(job),
            "may_start": self.may_resolve(request, job),
            "offered_actions": actions.offered_actions(job) if is_permitted else [],
        }
        return super().render_change_form(request, context, *args, **kwargs)
