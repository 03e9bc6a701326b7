"""Batches: their names and limits can be changed, and their jobs cancelled and retried."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ingestion_progress.admin import display
from ingestion_progress.admin.display import EMPTY
from ingestion_progress.admin.fields import time_of
from ingestion_progress.auth import permissions
from ingestion_progress.auth.batches import batches_for, is_whole
from ingestion_progress.exceptions import BatchActive
from ingestion_progress.models import Batch
from ingestion_progress.models.pagination import FirstPages
from ingestion_progress.recovery import (
    DELETE_SECONDS,
    BatchResult,
    cancel_batch,
    delete_batch,
    retry_batch,
)
from ingestion_progress.web import formatting
from ingestion_progress.web.batches import deletion_text
from ingestion_progress.web.presenters import remaining_text
from ingestion_progress.wire.batches import BatchProgressSchema, batch_progress

if TYPE_CHECKING:
    BatchModelAdmin = admin.ModelAdmin[Batch]
else:
    BatchModelAdmin = admin.ModelAdmin


CREATED_AT = time_of("created_at")


class BatchChangeList(ChangeList):
    """Reads the progress of all batches of the page together."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        _load_progress(request, self.result_list)


@admin.register(Batch)
class BatchAdmin(BatchModelAdmin):
    list_display = (
        *("__str__", "owned_by", "progress", "remaining", "counts", "max_running", CREATED_AT),
    )
    search_fields = ("id", "name", "owner_name")
    readonly_fields = ("id", "owned_by", "progress", "remaining", "counts", "jobs", CREATED_AT)
    fields = ("id", "name", "max_running", *readonly_fields[1:])
    actions = ("cancel_jobs", "retry_failed_jobs", "delete_selected")
    list_per_page = 50
    show_full_result_count = False
    paginator = FirstPages

    class Media:
        css = {"all": ["ingestion_progress/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Batch]:
        return batches_for(request, by_token=False)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BatchChangeList

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Batch | None:
        batch = super().get_object(request, *args, **kwargs)
        if batch is not None:
            _load_progress(request, [batch])
        return batch

    @admin.display(description=_("owner"), ordering="owner_name")
    def owned_by(self, batch: Batch) -> str:
        return display.owner(batch)

    @admin.display(description=_("progress"))
    def progress(self, batch: Batch) -> SafeString:
        return display.bar(
            _progress(batch).overall_progress_percent,
            gettext("Progress of %(name)s") % {"name": batch},
        )

    @admin.display(description=_("remaining"))
    def remaining(self, batch: Batch) -> str:
        return remaining_text(_progress(batch).forecast) or EMPTY

    @admin.display(description=_("jobs by result"))
    def counts(self, batch: Batch) -> str:
        counts = [formatting.jobs_with(*each) for each in _progress(batch).counts if each[1]]
        return ", ".join(counts) or EMPTY

    @admin.display(description=_("jobs"))
    def jobs(self, batch: Batch) -> SafeString:
        jobs = reverse("admin:ingestion_progress_job_changelist", current_app=self.admin_site.name)
        return format_html(
            '<a href="{}?{}">{}</a>', jobs, urlencode({"batch": batch.pk}), gettext("Jobs")
        )

    @admin.action(description=_("Cancel the jobs of selected batches"), permissions=["start"])
    def cancel_jobs(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        self._act(request, queryset, cancel_batch, gettext("Cancellation requested: %(jobs)s."))

    @admin.action(description=_("Retry failed jobs of selected batches"), permissions=["start"])
    def retry_failed_jobs(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        self._act(request, queryset, retry_batch, gettext("Queued again: %(jobs)s."))

    @admin.action(description=_("Delete selected batches with their jobs"), permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Replaces Django's action of this name, which would leave the jobs. Stops after 5 s."""
        ends_at = time.monotonic() + DELETE_SECONDS
        for batch in queryset:
            if not is_whole(request, batch, by_token=False):
                text = gettext("Not deleted: %(batch)s has jobs that you cannot see.") % {
                    "batch": batch
                }
                self.message_user(request, text, messages.WARNING)
                continue
            try:
                done = delete_batch(batch.pk, seconds=ends_at - time.monotonic())
            except BatchActive as active:
                self.message_user(request, active.translated(), messages.WARNING)
                continue
            if done.left:
                values = {"batch": batch, "text": deletion_text(done)}
                text = gettext("Not yet deleted: %(batch)s. %(text)s") % values
                self.message_user(request, text, messages.WARNING)
            else:
                values = {"batch": batch, "jobs": formatting.jobs(done.deleted)}
                text = gettext("Deleted: %(batch)s, %(jobs)s.") % values
                self.message_user(request, text, messages.SUCCESS)
            if time.monotonic() >= ends_at:
                text = gettext(
                    "Stopped after some seconds. Select the batches that are left again."
                )
                self.message_user(request, text, messages.WARNING)
                break

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Batch | None = None) -> bool:
        return request.user.has_perm("ingestion_progress.view_job")

    def has_change_permission(self, request: HttpRequest, obj: Batch | None = None) -> bool:
        may_change = obj is None or is_whole(request, obj, by_token=False)
        return may_change and self.has_start_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Batch | None = None) -> bool:
        return obj is None and request.user.has_perm("ingestion_progress.delete_job")

    def has_start_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ingestion_progress.start_job")

    def _act(
        self,
        request: HttpRequest,
        queryset: QuerySet[Batch],
        act: Callable[..., BatchResult],
        done: str,
    ) -> None:
        ids = list(queryset.values_list("pk", flat=True))
        found = permissions.jobs_for(request, by_token=False).filter(batch__in=ids)
        result = act(found.exclude(batch=""), by=permissions.user_name_of(request))
        text = done % {"jobs": formatting.jobs(result.changed)}
        self.message_user(request, text, messages.SUCCESS)
        if refused := list(result.refused.values()):
            values = {"jobs": formatting.jobs(len(refused)), "reason": refused[0].translated()}
            text = gettext("Refused: %(jobs)s. %(reason)s") % values
            self.message_user(request, text, messages.WARNING)


def _load_progress(request: HttpRequest, batches: Iterable[Any]) -> None:
    """Gives each batch the progress of its visible jobs, with two queries."""
    listed = list(batches)
    jobs = permissions.jobs_for(request, by_token=False)
    found = batch_progress(jobs, listed)
    for batch in listed:
        batch.progress_of_jobs = found[batch.pk]


def _progress(batch: Any) -> BatchProgressSchema:
    progress: BatchProgressSchema = batch.progress_of_jobs
    return progress
