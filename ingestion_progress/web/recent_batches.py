"""Batches in lists: one row with a bar for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ingestion_progress.models import Batch
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.pagination import ORDER
from ingestion_progress.web import formatting
from ingestion_progress.web.presenters import remaining_text
from ingestion_progress.wire.batches import BatchProgressSchema, batch_progress

# Batches are looked for among this many of the newest jobs.
RECENT_JOBS = 500
MAX_BATCHES = 5
# The parts of a bar, in their order.
PARTS = ("succeeded", "partial", "cancelled", "failed", "lost", "running", "queued")


@dataclass(frozen=True, kw_only=True, slots=True)
class BarPart:
    """A part of the bar, in numbers of jobs."""

    name: str
    start: int
    width: int


def recent_batch_ids(jobs: JobQuerySet) -> list[str]:
    """The batches of the newest jobs, the newest first. One query."""
    recent = jobs.order_by(*ORDER).values_list("batch", flat=True)[:RECENT_JOBS]
    return list(dict.fromkeys(filter(None, recent)))[:MAX_BATCHES]


def batch_rows(jobs: JobQuerySet, batch_ids: Iterable[str]) -> list[dict[str, Any]]:
    """A row for each batch, of those of its jobs that are among `jobs`."""
    listed = list(batch_ids)
    if not listed:
        return []
    records = Batch.objects.in_bulk(listed)
    return rows_of(jobs, [records.get(batch_id) or Batch(id=batch_id) for batch_id in listed])


def rows_of(jobs: JobQuerySet, batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """The same for batches that are read. One query, but for those that are active."""
    progress = batch_progress(jobs, batches)
    return [_row(batch, progress[batch.pk]) for batch in batches]


def _row(batch: Batch, progress: BatchProgressSchema) -> dict[str, Any]:
    counts = {name: getattr(progress.counts, name) for name in PARTS}
    texts = [formatting.jobs_with(name, number) for name, number in counts.items() if number]
    return {
        "batch": batch,
        "jobs": progress.jobs,
        "is_active": progress.counts.active > 0,
        "note": " · ".join(texts),
        "bar": _bar(counts),
        "percent_text": formatting.percent(progress.overall_progress_percent),
        "remaining": remaining_text(progress.forecast),
    }


def _bar(counts: dict[str, int]) -> list[BarPart]:
    parts, start = [], 0
    for name, number in counts.items():
        if number:
            parts.append(BarPart(name=name, start=start, width=number))
            start += number
    return parts
