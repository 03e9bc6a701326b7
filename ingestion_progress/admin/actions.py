from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as delete_after_confirmation
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase

from ingestion_progress import tracker
from ingestion_progress.exceptions import IngestionProgressError
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus

if TYPE_CHECKING:
    from ingestion_progress.admin.jobs import JobAdmin

# More reasons than this are counted, not listed.
MAX_REASONS = 5


@admin.action(description="Cancel selected jobs", permissions=["start"])
def cancel_jobs(jobs: JobAdmin, request: HttpRequest, queryset: QuerySet[Job]) -> None:
    """Asks each job to stop, and says which could not be asked and why."""
    refused: list[str] = []
    cancelled = 0
    for job in queryset:
        try:
            tracker.request_cancellation(job.pk)
        except IngestionProgressError as error:
            refused.append(str(error))
        else:
            cancelled += 1
            jobs.log_change(request, job, "Requested the cancellation.")
    if cancelled:
        text = f"Asked to stop: {_jobs(cancelled)}. A running job ends at its next step."
        jobs.message_user(request, text, messages.SUCCESS)
    if refused:
        rest = len(refused) - MAX_REASONS
        shown = [*refused[:MAX_REASONS], *([f"And {rest} more."] if rest > 0 else [])]
        text = f"Could not be cancelled: {_jobs(len(refused))}. {' '.join(shown)}"
        jobs.message_user(request, text, messages.WARNING)


@admin.action(description="Delete selected jobs", permissions=["delete"])
def delete_selected(
    jobs: JobAdmin, request: HttpRequest, queryset: QuerySet[Job]
) -> HttpResponseBase | None:
    """Django's own, with its confirmation, on those of the jobs that have ended."""
    finished = queryset.filter(status__in=JobStatus.final())
    if kept := queryset.count() - finished.count():
        text = f"Not deleted, because not finished: {_jobs(kept)}. Cancel first, then delete."
        jobs.message_user(request, text, messages.WARNING)
    if not finished.exists():
        return None
    return delete_after_confirmation(jobs, request, finished)


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"
