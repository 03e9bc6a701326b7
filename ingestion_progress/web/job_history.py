"""Who did what with a job, and when: the line below the title of its page."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext

from ingestion_progress.exceptions.stored_sentences import translate_stored
from ingestion_progress.models import Job
from ingestion_progress.models.spans import milliseconds_between
from ingestion_progress.web import formatting
from ingestion_progress.web.job_parts import Context


def history_view(job: Job, now: datetime) -> list[Context]:
    """Acts in the order of time: what was done, when (`at`, `age`), and by whom, if it is known."""
    acts: list[tuple[str, datetime | None, str]] = [
        (gettext("Created"), job.created_at, job.owner_name)
    ]
    if job.attempt > 1:
        act = gettext("Attempt %(number)s queued") % {"number": job.attempt}
        acts.append((act, job.queued_at, job.started_by))
    elif job.started_by != job.owner_name:
        acts.append((gettext("Started"), job.started_at or job.created_at, job.started_by))
    acts.append(
        (gettext("Cancellation requested"), job.cancel_requested_at, job.cancel_requested_by)
    )
    acts.append((gettext("Ended"), job.finished_at, ""))
    return [
        {
            "act": act,
            "at": at,
            "age": formatting.age(milliseconds_between(at, now)),
            "by": translate_stored(by),
        }
        for act, at, by in acts
        if at is not None
    ]
