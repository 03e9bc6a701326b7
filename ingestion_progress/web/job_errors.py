"""What the page of a job shows of its errors: groups with their items and a few examples."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext

from ingestion_progress import tracker
from ingestion_progress.auth.permissions import user_name_of
from ingestion_progress.exceptions.stored_sentences import translate_pattern, translate_stored
from ingestion_progress.models import Job, JobError
from ingestion_progress.models.statuses import AttemptStatus
from ingestion_progress.web import formatting, names
from ingestion_progress.web.job_parts import Context

# The others are folded.
GROUPS_SHOWN = 4


def attention_view(job: Job, resolution_url: Callable[[int], str] | None = None) -> Context:
    """`groups` and `more`: the most frequent ones first, those that are open before the others.

    `resolution_url`: where the form of the group with this primary key is sent to, if not to that
    of the pages.
    Empty lists if the notice of the page says it all. One query, of at most 101 rows.
    """
    rows = list(JobError.objects.filter(job=job).order_by("-count", "id"))
    if len(rows) == 1 and _is_reason(rows[0], job):
        rows = []
    rows.sort(key=lambda row: row.resolved_at is not None)
    url_of = resolution_url or _resolution_url(job)
    groups = [_group(row) | {"resolution_url": url_of(row.pk)} for row in rows]
    return {
        "groups": groups[:GROUPS_SHOWN],
        "more": groups[GROUPS_SHOWN:],
        "note": _note(rows),
        "listed": _of_this_attempt(rows, job),
        "csv_url": _csv_url(job),
    }


def change_resolution(request: HttpRequest, job_id: str, error_id: int) -> str:
    """Marks a group of errors as resolved, or with `open` in the form as open again.

    Returns what was done, in English for records; empty if there was nothing to do.
    """
    if "open" in request.POST:
        return "Opened errors again." if tracker.reopen_error(job_id, error_id) else ""
    is_resolved = tracker.resolve_error(job_id, error_id, by=user_name_of(request))
    return "Marked errors as resolved." if is_resolved else ""


def _resolution_url(job: Job) -> Callable[[int], str]:
    name = "ingestion_progress:job_error_resolution"
    return lambda error_id: reverse(name, args=[job.pk, error_id])


def _csv_url(job: Job) -> str:
    try:
        return f"{reverse('ingestion_progress:api:job_errors', args=[job.pk])}?format=csv"
    except NoReverseMatch:  # in the admin of a project that does not include the app's URLs
        return ""


def _is_reason(row: JobError, job: Job) -> bool:
    """Is it the one error that has ended the job?"""
    return row.count == 1 and [each["message"] for each in row.examples] == [job.error]


def _note(rows: list[JobError]) -> str:
    errors = sum(row.count for row in rows)
    parts = [f"{formatting.count(errors)} {names.unit('errors', errors)}"]
    if len(rows) > 1:
        values = {"errors": parts[0], "number": len(rows)}
        parts = [gettext("%(errors)s of %(number)s kinds") % values]
    if resolved := sum(row.resolved_at is not None for row in rows):
        parts.append(gettext("%(number)s resolved") % {"number": formatting.count(resolved)})
    return " · ".join(parts)


def _of_this_attempt(rows: list[JobError], job: Job) -> int:
    """How many errors of the attempt the groups count; they may be newer than the job."""
    return sum(row.count for row in rows) if job.attempt == 1 else job.error_count


def _group(row: JobError) -> dict[str, Any]:
    items = [translate_stored(each["item"]) for each in row.examples if each["item"]]
    return {
        "id": row.pk,
        "count": f"{formatting.count(row.count)}\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}",
        "where": names.label(row.stage) if row.stage else gettext("The job"),
        # Otherwise it is the name of an exception's class.
        "kind": gettext(row.kind) if row.kind == AttemptStatus.LOST else row.kind,
        "message": translate_pattern(row.message),
        "items": f"{', '.join(items)}{', …' if row.count > len(items) else ''}" if items else "",
        # Shown in seconds.
        "first_at": row.first_at if row.last_at - row.first_at >= timedelta(seconds=1) else None,
        "last_at": row.last_at,
        "examples": _examples(row),
        "is_resolved": row.resolved_at is not None,
        "resolved_by": row.resolved_by,
    }


def _examples(row: JobError) -> list[dict[str, str]]:
    """Whole messages, where they say more than that of the group."""
    return [
        {name: translate_stored(each[name]) for name in ("item", "message")}
        for each in row.examples
        if each["message"] != row.message
    ]
