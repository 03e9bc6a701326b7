"""The columns of the list of jobs, and the fields of a job's page that are not of the model."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ingestion_progress.admin import display
from ingestion_progress.admin.display import EMPTY
from ingestion_progress.admin.filters import BatchFilter
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import Liveness, StageStatus
from ingestion_progress.web import formatting
from ingestion_progress.web.presenters import remaining_text

# Of a row that a stream keeps up to date, in this order.
LIVE_COLUMNS = (
    "live_status",
    "progress",
    "stages_in_progress",
    "errors",
    "failed_items",
    "started",
    "elapsed",
)


class JobColumns:
    """Of jobs whose stages are prefetched."""

    admin_site: admin.AdminSite

    @admin.display(description=_("document"), ordering="document_name")
    def document(self, job: Job) -> str:
        return job.document_name or job.document_id or job.pk

    @admin.display(description=_("batch"))
    def batch_link(self, job: Job) -> str:
        if not job.batch:
            return EMPTY
        query = {BatchFilter.parameter_name: job.batch}
        jobs = reverse("admin:ingestion_progress_job_changelist", current_app=self.admin_site.name)
        return format_html('<a href="{}?{}">{}</a>', jobs, urlencode(query), job.batch)

    @admin.display(description=_("owner"), ordering="owner_name")
    def owned_by(self, job: Job) -> str:
        return display.owner(job)

    @admin.display(description=_("status"))
    def shown_status(self, job: Job) -> SafeString:
        return display.job_status(job)

    @admin.display(description=_("status"), ordering="status")
    def live_status(self, job: Job) -> SafeString:
        """In the list, whose script finds the row by it."""
        liveness = job.liveness(database_now())
        is_well = liveness in {None, Liveness.QUEUED, Liveness.WORKING}
        mark = display.job_status(job, None if is_well else liveness)
        return format_html(
            '<span data-job="{}" data-status="{}">{}</span>', job.pk, job.status, mark
        )

    @admin.display(description=_("progress"), ordering="reached_percent")
    def progress(self, job: Job) -> SafeString:
        return display.bar(
            display.snapshot(job).overall_percent,
            gettext("Progress of %(name)s") % {"name": self.document(job)},
        )

    @admin.display(description=_("in progress"))
    def stages_in_progress(self, job: Job) -> str:
        running = [
            (f"{stage.name} {display.count(stage)}",)
            for stage in job.stages.all()
            if stage.stage_status is StageStatus.IN_PROGRESS
        ]
        return format_html_join(mark_safe("<br>"), "{}", running) or EMPTY

    @admin.display(description=_("started"), ordering="started_at")
    def started(self, job: Job) -> str:
        return display.timestamp(job.started_at)

    @admin.display(description=_("elapsed"))
    def elapsed(self, job: Job) -> str:
        return display.duration(job.started_at, job.finished_at)

    @admin.display(description=_("remaining"))
    def remaining(self, job: Job) -> str:
        return remaining_text(display.snapshot(job).forecast(database_now())) or EMPTY

    @admin.display(description=_("liveness"))
    def liveness(self, job: Job) -> str:
        now = database_now()
        liveness, waiting = job.liveness(now), formatting.waiting(job.awaited_service(now))
        return display.mark(liveness, waiting) if liveness else EMPTY

    @admin.display(description=_("errors"), ordering="error_count")
    def errors(self, job: Job) -> int | str:
        return job.error_count or EMPTY
