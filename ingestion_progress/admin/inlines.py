"""Attempts, stages, workers and events of a job, as read-only tables on its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ingestion_progress.admin.display import EMPTY, bar, duration, mark, timestamp
from ingestion_progress.admin.fields import count_of
from ingestion_progress.exceptions.stored_sentences import translate_stored
from ingestion_progress.models import Job, JobAttempt, JobEvent, Stage, Worker
from ingestion_progress.models.stages import shown_percent
from ingestion_progress.models.statuses import AttemptStatus, EventLevel, StageStatus, WorkerStatus
from ingestion_progress.web import names

MAX_ROWS = 50
COUNTS: tuple[Any, ...] = tuple(map(count_of, ("processed", "total", "in_flight", "failed")))
FAILED_ITEMS = count_of("failed_items")

if TYPE_CHECKING:
    Inline = admin.TabularInline[Model, Job]
    Rows = BaseInlineFormSet[Model, Job, forms.ModelForm[Model]]
else:
    Inline = admin.TabularInline
    Rows = BaseInlineFormSet


class FirstRows(Rows):
    """Shows at most MAX_ROWS rows, so that a page does not grow with the job."""

    def get_queryset(self) -> QuerySet[Model]:
        if not hasattr(self, "_first_rows"):
            self._first_rows = super().get_queryset()[:MAX_ROWS]
        return self._first_rows


class ReadOnlyInline(Inline):
    formset = FirstRows
    template = "admin/ingestion_progress/job/rows.html"
    empty_text: Any = ""
    extra = 0
    can_delete = False

    @property
    def media(self) -> forms.Media:
        return forms.Media()  # the formset's scripts only add and remove rows

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Requires the permission to view or change the job, not its rows."""
        codenames = ("ingestion_progress.view_job", "ingestion_progress.change_job")
        return any(request.user.has_perm(codename) for codename in codenames)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission


class AttemptInline(ReadOnlyInline):
    model = JobAttempt
    empty_text = _("No attempt has ended yet.")
    ordering = ("-number",)
    verbose_name_plural = format_lazy(
        _("ended attempts (the latest {number}, newest first)"), number=MAX_ROWS
    )
    fields = (
        *("number", "shown_status", "started", "finished", "took", FAILED_ITEMS),
        *("people", "shown_error"),
    )
    readonly_fields = (
        *("shown_status", "started", "finished", "took", FAILED_ITEMS),
        *("people", "shown_error"),
    )

    @admin.display(description=_("status"))
    def shown_status(self, attempt: JobAttempt) -> SafeString:
        return mark(AttemptStatus(attempt.status))

    @admin.display(description=_("started"))
    def started(self, attempt: JobAttempt) -> str:
        return timestamp(attempt.started_at)

    @admin.display(description=_("finished"))
    def finished(self, attempt: JobAttempt) -> str:
        return timestamp(attempt.finished_at)

    @admin.display(description=_("took"))
    def took(self, attempt: JobAttempt) -> str:
        return duration(attempt.started_at, attempt.finished_at)

    @admin.display(description=_("people"))
    def people(self, attempt: JobAttempt) -> str:
        """Who started it and who cancelled it, as far as that is known."""
        people = []
        if attempt.started_by:
            people.append(gettext("started by %(name)s") % {"name": attempt.started_by})
        if name := translate_stored(attempt.cancelled_by):
            people.append(gettext("cancelled by %(name)s") % {"name": name})
        return ", ".join(people) or EMPTY

    @admin.display(description=_("error"))
    def shown_error(self, attempt: JobAttempt) -> str:
        return translate_stored(attempt.error) or EMPTY


class StageInline(ReadOnlyInline):
    model = Stage
    empty_text = _("This job declares no stages.")
    ordering = ("position",)
    fields = ("label", "shown_status", "progress", *COUNTS, "shown_unit", "took")
    readonly_fields = ("label", "shown_status", "progress", *COUNTS, "shown_unit", "took")

    @admin.display(description=_("name"))
    def label(self, stage: Stage) -> str:
        return names.label(stage.name)

    @admin.display(description=_("status"))
    def shown_status(self, stage: Stage) -> SafeString:
        return mark(stage.shown_status(is_over=stage.job.is_finished))

    @admin.display(description=_("progress"))
    def progress(self, stage: Stage) -> str:
        if stage.stage_status is StageStatus.SKIPPED:
            return EMPTY
        return bar(
            shown_percent(stage.percent),
            gettext("Progress of %(name)s") % {"name": self.label(stage)},
        )

    @admin.display(description=_("unit"))
    def shown_unit(self, stage: Stage) -> str:
        return names.unit(stage.unit, stage.total) or EMPTY

    @admin.display(description=_("took"))
    def took(self, stage: Stage) -> str:
        return duration(stage.started_at, stage.finished_at)


class WorkerInline(ReadOnlyInline):
    model = Worker
    empty_text = _("No worker has started yet.")
    ordering = ("number",)
    verbose_name_plural = format_lazy(_("workers (the first {number})"), number=MAX_ROWS)
    fields = ("number", "shown_status", "current_chunk", "progress")
    readonly_fields = ("shown_status", "progress")

    @admin.display(description=_("status"))
    def shown_status(self, worker: Worker) -> SafeString:
        return mark(WorkerStatus(worker.status))

    @admin.display(description=_("progress"))
    def progress(self, worker: Worker) -> str:
        if worker.status == WorkerStatus.IDLE:
            return EMPTY
        return bar(
            shown_percent(worker.progress_percent),
            gettext("Progress of worker %(number)s") % {"number": worker.number},
        )


class EventInline(ReadOnlyInline):
    model = JobEvent
    empty_text = _("Nothing has been logged yet.")
    ordering = ("-id",)
    verbose_name_plural = format_lazy(
        _("log (the latest {number} lines, newest first)"), number=MAX_ROWS
    )
    fields = ("time", "shown_level", "stage_label", "shown_item", "shown_message")
    readonly_fields = fields

    @admin.display(description=_("time"))
    def time(self, event: JobEvent) -> str:
        return timestamp(event.at)

    @admin.display(description=_("stage"))
    def stage_label(self, event: JobEvent) -> str:
        return names.label(event.stage)

    @admin.display(description=_("item"))
    def shown_item(self, event: JobEvent) -> str:
        return translate_stored(event.item) or EMPTY

    @admin.display(description=_("message"))
    def shown_message(self, event: JobEvent) -> str:
        return translate_stored(event.message)

    @admin.display(description=_("level"))
    def shown_level(self, event: JobEvent) -> SafeString:
        return mark(EventLevel(event.level))
