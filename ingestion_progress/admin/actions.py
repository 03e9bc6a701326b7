"""The actions of the job list and of a job's page: cancel, retry, mark as lost and delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as delete_after_confirmation
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.translation import gettext, gettext_lazy

from ingestion_progress.auth.permissions import user_id_of, user_name_of
from ingestion_progress.exceptions import IngestionProgressError
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.recovery import RetryScope, has_sign_of_life, mark_lost, retry_jobs
from ingestion_progress.tracker.cancellations import request_cancellations
from ingestion_progress.web import formatting

# Further reasons are counted, not listed.
MAX_REASONS = 5
QUEUED = gettext_lazy("Queued again: %(jobs)s.")
NOT_RETRIED = gettext_lazy("Could not be retried: %(jobs)s. %(reasons)s")
# A field of a form on the page of a job, to which its response leads back.
PAGE_OF = "page_of"
Act = Callable[..., Mapping[str, IngestionProgressError]]
"""Takes ids of jobs, and `by`; returns, by id, why some were refused."""


@admin.action(description=gettext_lazy("Cancel selected jobs"), permissions=["start"])
def cancel_jobs(jobs: admin.ModelAdmin[Job], request: HttpRequest, queryset: QuerySet[Job]) -> None:
    """Requests cancellation of each job, and shows why some could not be cancelled."""
    done = gettext("Cancellation requested: %(jobs)s. A running job stops at its next step.")
    not_done = gettext("Could not be cancelled: %(jobs)s. %(reasons)s")
    _act(
        jobs,
        request,
        queryset,
        request_cancellations,
        texts=(done, not_done),
        participle="cancelled",
    )


@admin.action(description=gettext_lazy("Retry selected jobs"), permissions=["start"])
def retry_selected(
    jobs: admin.ModelAdmin[Job], request: HttpRequest, queryset: QuerySet[Job]
) -> None:
    """Queues another attempt of each job, and shows why some could not be retried."""
    _act(
        jobs,
        request,
        queryset,
        retry_jobs,
        texts=(str(QUEUED), str(NOT_RETRIED)),
        participle="retried",
    )


@admin.action(
    description=gettext_lazy("Retry failed items of selected jobs"), permissions=["start"]
)
def retry_failed_items(
    jobs: admin.ModelAdmin[Job], request: HttpRequest, queryset: QuerySet[Job]
) -> None:
    """Retries jobs as `retry_selected`, but a job that succeeded repeats only its failed items."""
    act = partial(retry_jobs, only=RetryScope.FAILED)
    _act(jobs, request, queryset, act, texts=(str(QUEUED), str(NOT_RETRIED)), participle="retried")


@admin.action(description=gettext_lazy("Mark selected jobs as lost"), permissions=["start"])
def mark_selected_lost(
    jobs: admin.ModelAdmin[Job], request: HttpRequest, queryset: QuerySet[Job]
) -> HttpResponseBase | None:
    """Ends the running attempt of each job; of one with a sign of life only after confirmation."""
    is_confirmed = request.POST.get("confirmed") == "yes"
    alive = [] if is_confirmed else [job for job in queryset if has_sign_of_life(job)]
    if alive:
        context = jobs.admin_site.each_context(request) | {
            "title": gettext("Mark as lost?"),
            "opts": jobs.opts,
            "alive": alive,
            "chosen": list(queryset.values_list("pk", flat=True)),
            "action": mark_selected_lost.__name__,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "page_of": request.POST.get(PAGE_OF, ""),
        }
        return TemplateResponse(request, "admin/ingestion_progress/job/mark_lost.html", context)
    act = partial(mark_lost, even_if_alive=is_confirmed)
    done = gettext("Marked as lost: %(jobs)s. A job with a task is queued again.")
    not_done = gettext("Could not be marked as lost: %(jobs)s. %(reasons)s")
    _act(jobs, request, queryset, act, texts=(done, not_done), participle="marked as lost")
    return None


@admin.action(description=gettext_lazy("Delete selected jobs"), permissions=["delete"])
def delete_selected(
    jobs: admin.ModelAdmin[Job], request: HttpRequest, queryset: QuerySet[Job]
) -> HttpResponseBase | None:
    """Django's action, with its confirmation page, for the finished jobs of the selection."""
    finished = queryset.filter(status__in=JobStatus.final())
    if kept := queryset.count() - finished.count():
        count = formatting.jobs(kept)
        text = gettext(
            "Not deleted, because not finished: %(jobs)s. Cancel first, then delete."
        ) % {"jobs": count}
        jobs.message_user(request, text, messages.WARNING)
    if not finished.exists():
        return None
    return delete_after_confirmation(jobs, request, finished)


def offered_actions(job: Job) -> list[tuple[str, str]]:
    """The name and the label of each action that the job's page offers."""
    if not job.is_finished:
        cancel = (cancel_jobs.__name__, gettext("Cancel this job"))
        lost = (mark_selected_lost.__name__, gettext("Mark as lost…"))
        is_running = job.job_status is JobStatus.RUNNING
        return [*([] if job.cancel_requested_at else [cancel]), *([lost] if is_running else [])]
    if not job.task:
        return []
    has_failed_items = job.job_status.has_succeeded and job.failed_items
    some = (
        [(retry_failed_items.__name__, gettext("Retry failed items"))] if has_failed_items else []
    )
    return [*some, (retry_selected.__name__, gettext("Retry this job"))]


def _act(
    jobs: admin.ModelAdmin[Job],
    request: HttpRequest,
    queryset: QuerySet[Job],
    act: Act,
    *,
    texts: tuple[str, str],
    participle: str,
) -> None:
    chosen = list(queryset.prefetch_related(None))
    refused = act([job.pk for job in chosen], by=user_name_of(request))
    if changed := [job for job in chosen if job.pk not in refused]:
        jobs.message_user(
            request, texts[0] % {"jobs": formatting.jobs(len(changed))}, messages.SUCCESS
        )
        message = f"Requested to be {participle}."
        LogEntry.objects.log_actions(user_id_of(request), changed, CHANGE, message)
    if refused:
        rest = len(refused) - MAX_REASONS
        reasons = [reason.translated() for reason in list(refused.values())[:MAX_REASONS]]
        shown = [
            *reasons,
            *([gettext("And %(number)s more.") % {"number": rest}] if rest > 0 else []),
        ]
        values = {"jobs": formatting.jobs(len(refused)), "reasons": " ".join(shown)}
        text = texts[1] % values
        jobs.message_user(request, text, messages.WARNING)
