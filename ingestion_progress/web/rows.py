"""The lines of lists, as the pages show them: jobs, and the log of one job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from ingestion_progress.models import Job, JobEvent
from ingestion_progress.models.statuses import EventLevel, JobStatus, Liveness
from ingestion_progress.web import formatting
from ingestion_progress.wire.snapshots import Snapshot


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One line of the list."""

    id: str
    url: str
    document_name: str
    status: str
    status_label: str
    liveness: str
    percent: str
    percent_text: str
    note: str
    created_at: datetime
    elapsed: str


@dataclass(frozen=True, kw_only=True)
class EventView:
    """One line of a job's log."""

    at: datetime
    level: str
    level_label: str
    where: str
    """The stage and the item concerned; may be empty."""
    message: str


def job_rows(snapshots: Iterable[Snapshot], now: datetime) -> list[JobRow]:
    return [_row(snapshot, now) for snapshot in snapshots]


def _row(snapshot: Snapshot, now: datetime) -> JobRow:
    job, progress = snapshot.job, snapshot.progress(now)
    liveness = job.liveness(now)
    return JobRow(
        id=job.id,
        url=reverse("ingestion_progress:job_detail", args=[job.id]),
        document_name=job.document_name or job.document_id or job.id,
        status=job.status,
        status_label=job.job_status.label,
        liveness=liveness.value if liveness else "",
        percent=formatting.number(progress.overall_progress_percent),
        percent_text=formatting.percent(progress.overall_progress_percent),
        note=_note(job, liveness),
        created_at=job.created_at,
        elapsed=formatting.duration(progress.timing.elapsed_ms) if job.started_at else "",
    )


def _note(job: Job, liveness: Liveness | None) -> str:
    """The one thing worth knowing about a job in a list; mostly nothing."""
    if liveness:
        return "" if liveness is Liveness.WORKING else str(liveness.label)
    if job.job_status is JobStatus.SUCCEEDED:
        return formatting.error_note(job.error_count)
    return job.error


def event_rows(events: Iterable[JobEvent]) -> list[EventView]:
    return [
        EventView(
            at=event.at,
            level=event.level,
            level_label=EventLevel(event.level).label,
            where=" · ".join(part for part in (formatting.label(event.stage), event.item) if part),
            message=event.message,
        )
        for event in events
    ]
