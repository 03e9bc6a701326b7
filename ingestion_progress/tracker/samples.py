"""Samples of the counts of running attempts: few, and thinned as the attempt goes on.

Time is divided into equal intervals, which double in length whenever there would be too many. Of
each interval the last sample is kept. So when a sample is due follows from the time alone, and a
flush between two samples costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ingestion_progress.models import Job, JobSamples, Stage, Worker, rows_by
from ingestion_progress.models.samples import MAX_SAMPLES
from ingestion_progress.models.spans import milliseconds_between
from ingestion_progress.models.stages import percent_before_success
from ingestion_progress.models.statuses import WorkerStatus
from ingestion_progress.tracker.database import progress_alias, rows_of_jobs, upsert

# Half of the interval of flushes, so that the samples of a job of seconds have all its counts.
FIRST_INTERVAL_MS = 125
# The limit of one attempt: with many stages there are fewer samples.
MAX_NUMBERS = 8000
# The position of the number of busy workers in a sample.
BUSY = 5


def interval_ms(elapsed_ms: int, stages: int) -> int:
    """The interval after this time, with which there are at most MAX_SAMPLES."""
    most = max(1, min(MAX_SAMPLES, MAX_NUMBERS // (2 * max(1, stages))))
    interval = FIRST_INTERVAL_MS
    while elapsed_ms // interval >= most:
        interval *= 2
    return interval


def is_due(before_ms: int, now_ms: int, stages: int) -> bool:
    """Has an interval ended between two writes?"""
    interval = interval_ms(now_ms, stages)
    return now_ms // interval > before_ms // interval


def thinned(samples: Sequence[list[Any]], stages: int) -> list[list[Any]]:
    """The last sample of each interval."""
    interval = interval_ms(samples[-1][0], stages)
    return list({sample[0] // interval: sample for sample in samples}.values())


def sample_of(job: Job, stages: Sequence[Stage], now: datetime) -> list[Any]:
    """A sample of a running job, with the percentage that readers see, and with no busy workers:
    `SampleWrites.save` counts these.
    """
    processed, totals = ([getattr(s, name) for s in stages] for name in ("processed", "total"))
    return [
        _since_start_ms(job, now),
        percent_before_success(job.reached_percent),
        processed,
        totals,
        _forecast_of(job, now),
        0,
        job.queue_depth,
    ]


def _forecast_of(job: Job, now: datetime) -> list[int] | None:
    ends = (job.likely_end_at, job.earliest_end_at, job.latest_end_at)
    left = [round((end - now).total_seconds() * 1000) for end in ends if end is not None]
    return left if len(left) == len(ends) else None


def _since_start_ms(job: Job, now: datetime) -> int:
    return milliseconds_between(job.started_at or now, now)


class SampleWrites:
    """The samples that one transaction adds: two queries and a statement, or none."""

    def __init__(self) -> None:
        self._due: list[tuple[Job, Sequence[Stage], list[Any]]] = []

    def add(self, job: Job, stages: Sequence[Stage], *, before: datetime, is_last: bool) -> None:
        """Adds a sample if it is due, or the last one; `before`: the time of the last write."""
        before_ms, now_ms = _since_start_ms(job, before), _since_start_ms(job, job.updated_at)
        if job.started_at and (is_last or is_due(before_ms, now_ms, len(stages))):
            self._due.append((job, stages, sample_of(job, stages, job.updated_at)))

    def save(self) -> None:
        """To be called after the workers are written, whose busy ones are counted."""
        if not self._due:
            return
        due = [job for job, *_ in self._due]
        found = _stored_samples(due)
        busy = _busy_workers([job for job in due if job.pool_size])
        added = []
        for job, stages, sample in self._due:
            sample[BUSY] = busy.get(job.pk, 0)
            samples = thinned([*found.get((job.pk, job.attempt), []), sample], len(stages))
            names = [stage.name for stage in stages]
            added.append(JobSamples(job=job, attempt=job.attempt, stages=names, samples=samples))
        upsert(JobSamples, added, by=["job", "attempt"], columns=["stages", "samples"])


def _stored_samples(jobs: Sequence[Job]) -> dict[tuple[str, int], list[Any]]:
    """By job and attempt; also of earlier attempts that have the number of another job's."""
    attempts = {"attempt": sorted({job.attempt for job in jobs})}
    ids = [job.pk for job in jobs]
    stored = rows_by(
        JobSamples, "job", ids, also=attempts, without="history", using=progress_alias()
    )
    return {(each.job_id, each.attempt): each.samples for each in stored}


def _busy_workers(jobs: Sequence[Job]) -> dict[str, int]:
    """By job; without those that have none."""
    if not jobs:
        return {}
    ids = [job.pk for job in jobs]
    return Counter(
        worker.job_id for worker in rows_of_jobs(Worker, ids, status=WorkerStatus.PROCESSING)
    )
