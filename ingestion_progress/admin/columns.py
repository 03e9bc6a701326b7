"""The columns of the list of jobs, and the fields of a job's page that are not of the model."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ingestion_progress.admin import display
from ingestion_progress.admin.display import EMPTY
from ingestion_progress.admin.filters import BatchFilter
from ingestion_progress.exceptions.stored_sentences import translate_stored
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import Liveness, StageStatus
from ingestion_progress.web import formatting, names, stage_texts
from ingestion_progress.web.presenters import name_parts, remaining_text

# The columns that a stream keeps up to date, in their order.
LIVE_COLUMNS = ("live_status", "live_progress", "live_errors", "live_times")


class JobColumns:
    """The columns of a list of jobs. The stages of the jobs must be prefetched."""

    admin_site: admin.AdminSite

    @admin.display(description=_("document"), ordering="document_name")
    def document(self, job: Job) -> SafeString:
        """The name, and below it the owner."""
        return format_html(
            '<span class="progress-line progress-name" title="{name}">'
            "<bdi><span>{name_start}</span><span>{name_end}</span></bdi></span>"
            '<span class="progress-line progress-note"><bdi>{owner}</bdi></span>',
            owner=job.owner_name or job.owner_id or "",
            **name_parts(job),
        )

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

    @admin.display(description=_("error"))
    def shown_error(self, job: Job) -> str:
        return translate_stored(job.error) or EMPTY

    @admin.display(description=_("status"), ordering="status")
    def live_status(self, job: Job) -> SafeString:
        """The status in the list. The script of the list finds the row by it."""
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
            gettext("Progress of %(name)s") % {"name": name_parts(job)["name"]},
        )

    @admin.display(description=_("progress"), ordering="reached_percent")
    def live_progress(self, job: Job) -> SafeString:
        """With the stages that are in progress."""
        running = [
            f"{names.label(stage.name)} {display.count(stage)}"
            for stage in job.stages.all()
            if stage.stage_status is StageStatus.IN_PROGRESS
        ]
        return display.two_lines("bar", self.progress(job), "stages", ", ".join(running))

    @admin.display(description=_("errors"), ordering="error_count")
    def live_errors(self, job: Job) -> SafeString:
        """With the number of failed items."""
        count = formatting.count(job.error_count) if job.error_count else EMPTY
        return display.two_lines("errors", count, "failed", stage_texts.failures(job.failed_items))

    @admin.display(description=_("started"), ordering="started_at")
    def live_times(self, job: Job) -> SafeString:
        """With the duration since then."""
        took = display.duration(job.started_at, job.finished_at) if job.started_at else ""
        return display.two_lines("started", display.moment(job.started_at), "elapsed", took)

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
