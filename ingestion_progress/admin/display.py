"""Values as the admin shows them: text, and a class for the colour."""

from datetime import datetime

from django.db.models import Choices
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from ingestion_progress.models import Batch, Job, Stage
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import Liveness
from ingestion_progress.web import formatting
from ingestion_progress.wire.snapshots import Snapshot

# What the admin shows for an empty field.
EMPTY = "-"


def owner(record: Job | Batch) -> str:
    """The name when the record was created, or else the primary key."""
    return record.owner_name or str(record.owner_id or EMPTY)


def mark(choice: Choices, text: str = "") -> SafeString:
    """A status, level or liveness: its label (or `text`), coloured by admin.css."""
    return format_html(
        '<span class="progress-mark progress-mark-{}" title="{}">{}</span>',
        choice.value,
        choice.label,
        text or choice.label,
    )


def job_status(job: Job, trouble: Liveness | None = None) -> SafeString:
    """The status of a job, and what is wrong with one that is active."""
    text = formatting.job_label(job.status, job.failed_items)
    if job.cancel_requested_at and not job.is_finished:
        text = gettext("Cancelling")
    if trouble:
        return mark(trouble, f"{text} · {formatting.trouble(trouble.value)}")
    return mark(job.result or job.job_status, text)


def bar(percent: float, label: str) -> SafeString:
    """A progress bar with its percentage. `label` names it for screen readers."""
    return format_html(
        '<span class="progress-bar"><progress max="100" value="{}" aria-label="{}"></progress>'
        " <span>{}</span></span>",
        f"{percent:.1f}",  # HTML requires a point, whatever the locale
        label,
        formatting.exact_percent(percent),
    )


def timestamp(at: datetime | None) -> str:
    """A time as on the pages, and with seconds, which show the order of events."""
    if at is None:
        return EMPTY
    shown = date_format(timezone.localtime(at), gettext("j M Y, H:i:s"))
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), shown)


def moment(at: datetime | None) -> str:
    """A time as on the pages, without seconds."""
    if at is None:
        return EMPTY
    shown = date_format(timezone.localtime(at), gettext("j M Y, H:i"))
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), shown)


def duration(start: datetime | None, end: datetime | None) -> str:
    """The duration from `start` to `end`, or until now; empty before the start."""
    if start is None:
        return EMPTY
    length = (end or database_now()) - start
    return formatting.duration(max(0, round(length.total_seconds() * 1000)))


def count(stage: Stage) -> str:
    """`1,200/4,800`, or `1,200` while the total is unknown."""
    counts = [stage.processed, *([stage.total] if stage.total else [])]
    return "/".join(map(formatting.count, counts))


def two_lines(name: str, value: object, note_name: str, note: object) -> SafeString:
    """A value and a smaller note below it, which the script finds by their names."""
    return format_html(
        '<span class="progress-line" data-cell="{}">{}</span>'
        '<span class="progress-line progress-note" data-cell="{}" title="{note}">{note}</span>',
        name,
        value,
        note_name,
        note=note,
    )


def snapshot(job: Job) -> Snapshot:
    """Without workers. The queryset must have prefetched the stages of the job."""
    return Snapshot(job=job, stages=list(job.stages.all()), workers=())


def url(view: str, *args: str) -> str | None:
    """None if the project does not include the app's URLs."""
    try:
        return reverse(f"ingestion_progress:{view}", args=args)
    except NoReverseMatch:
        return None
