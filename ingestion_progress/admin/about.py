"""The jobs about an object, on the page of this object in the admin."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import label_for_field, quote
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.loader import select_template
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from ingestion_progress.admin import display
from ingestion_progress.admin.columns import LIVE_COLUMNS
from ingestion_progress.admin.jobs import JobAdmin
from ingestion_progress.auth.viewers import viewer_key
from ingestion_progress.conf import conf
from ingestion_progress.models import Job
from ingestion_progress.models.about import About
from ingestion_progress.models.jobs import JobQuerySet

MAX_ROWS = 20
COLUMNS = ("document", *LIVE_COLUMNS)
TEMPLATE = "admin/ingestion_progress/jobs_about/change_form.html"

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
else:
    AnyModelAdmin = object


class JobsAboutMixin(AnyModelAdmin):
    """Adds the newest jobs about an object to its page, in rows that are live:

        class OrderAdmin(JobsAboutMixin, admin.ModelAdmin): ...

    They are above the inlines, in whatever template the page has (its block `after_field_sets`).
    A user who may not view jobs does not see them. Two queries, for any number of jobs.
    """

    @property
    def media(self) -> forms.Media:
        script: Any = forms.Script("ingestion_progress/admin-list.js", type="module")
        own = forms.Media(css={"all": ["ingestion_progress/admin.css"]}, js=[script])
        return super().media + own

    def jobs_of(self, jobs: JobQuerySet, obj: Model) -> JobQuerySet:
        """The jobs that the page of `obj` shows. `jobs`: those that the user may view."""
        return jobs.about(obj)

    def query_of_jobs(self, obj: Model) -> dict[str, str]:
        """Limits the admin's list of jobs to the same jobs."""
        return {"about": str(About.of(obj))}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        response = super().render_change_form(request, context, *args, **kwargs)
        obj: Model | None = context.get("original")
        jobs = JobAdmin(Job, self.admin_site)
        if obj is None or not isinstance(response, TemplateResponse):
            return response
        if jobs.has_view_permission(request):
            names: Any = response.template_name
            page = select_template([names] if isinstance(names, str) else names)
            shown = {"page_of_object": page, "jobs_about": self._shown(request, obj, jobs)}
            response.context_data = {**(response.context_data or {}), **shown}
            response.template_name = TEMPLATE
        return response

    def _shown(self, request: HttpRequest, obj: Model, jobs: JobAdmin) -> dict[str, Any]:
        visible: Any = jobs.get_queryset(request)
        newest = self.jobs_of(visible, obj).order_by("-created_at", "id")[: MAX_ROWS + 1]
        found = list(newest)
        query, listed = self.query_of_jobs(obj), _admin_url(jobs, "changelist")
        # The stream then has these jobs and later ones; without `about` the script names the jobs.
        about = {"about": query["about"]} if "about" in query else {}
        stream = display.url("jobs_progress")
        return {
            "labels": [label_for_field(name, Job, jobs) for name in COLUMNS],
            "rows": [_row(job, jobs) for job in found[:MAX_ROWS]],
            "has_more": len(found) > MAX_ROWS,
            "list_url": f"{listed}?{urlencode(query)}" if listed else "",
            "stream_url": f"{stream}?{urlencode(about)}" if stream and about else stream,
            "has_arrivals": bool(about),
            "keepalive_seconds": conf.keepalive_seconds,
            "viewer_key": viewer_key(request),
        }


def _row(job: Job, jobs: JobAdmin) -> dict[str, Any]:
    shown = ((name, getattr(jobs, name, None), getattr(job, name, "")) for name in COLUMNS)
    cells = [(name, method(job) if method else value) for name, method, value in shown]
    page = _admin_url(jobs, "change", quote(job.pk)) or display.url("job_detail", job.pk)
    return {"url": page, "name": cells[0][1], "cells": cells[1:]}


def _admin_url(jobs: JobAdmin, view: str, *args: str) -> str:
    """A URL on the same admin site, or else on the default one; empty if neither has jobs."""
    for site in (jobs.admin_site.name, None):
        with contextlib.suppress(NoReverseMatch):
            name = f"admin:ingestion_progress_job_{view}"
            return reverse(name, args=args, current_app=site)
    return ""
