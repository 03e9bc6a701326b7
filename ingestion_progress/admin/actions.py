"""The actions of the job list: cancel and delete."""

from __future__ import annotations

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as delete_after_confirmation
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase

from ingestion_progress import tracker
from ingestion_progress.exceptions import IngestionProgressError
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus

# Further reasons are counted, not listed.
MAX_REASONS = 5


@admin.action(description="Cancel selected jobs", permissions=["start"])
def cancel_jobs(jobs: admin.ModelAdmin[Job], request: HttpRequest, queryset: QuerySet[Job]) -> None:
    """Requests cancellation of each job, and shows why some could not be cancelled."""
    refused: list[str] = []
    cancelled = 0
    for job in queryset:
        try:
            tracker.request_cancellation(job.pk)
        except IngestionProgressError as error:
            refused.append(str(error))
        else:
            cancelled += 1
            jobs.log_change(request, job, "Requested cancellation.")
    if cancelled:
        text = f"Cancellation requested: {_jobs(cancelled)}. A running job stops at its next step."
        jobs.message_user(request, text, messages.SUCCESS)
    if refused:
        rest = len(refused) - MAX_REASONS
        shown = [*refused[:MAX_REASONS], *([f"And {rest} more."] if rest > 0 else [])]
        text = f"Could not be cancelled: {_jobs(len(refused))}. {' '.join(shown)}"
        jobs.message_user(request, text, messages.WARNING)


@admin.action(description="Delete selected jobs", permissions=["delete"])
def delete_selected(
    jobs: admin.ModelAdmin[Job], request: HttpRequest, queryset: QuerySet[Job]
) -> HttpResponseBase | None:
    """Django's action, with its confirmation page, for the finished jobs of the selection."""
    finished = queryset.filter(status__in=JobStatus.final())
    if kept := queryset.count() - finished.count():
        text = f"Not deleted, because not finished: {_jobs(kept)}. Cancel first, then delete."
        jobs.message_user(request, text, messages.WARNING)
    if not finished.exists():
        return None
    return delete_after_confirmation(jobs, request, finished)


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"
