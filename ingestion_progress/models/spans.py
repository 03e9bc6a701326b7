"""When stages ran, in milliseconds since the start of the attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ingestion_progress.models.jobs import Job
from ingestion_progress.models.stages import Stage


@dataclass(frozen=True, slots=True)
class Span:
    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        return self.end_ms - self.start_ms


def milliseconds_between(start: datetime, end: datetime) -> int:
    """0 if the end is before the start."""
    return max(0, round((end - start).total_seconds() * 1000))


def elapsed_ms(job: Job, now: datetime) -> int:
    """How long the attempt has run until `now`, or until its end; 0 before its start."""
    return milliseconds_between(job.started_at, job.finished_at or now) if job.started_at else 0


def stage_span(job: Job, stage: Stage, now: datetime) -> Span | None:
    """When the stage ran in this attempt, until `now` if it still runs; None if it has not run."""
    if job.started_at is None or stage.started_at is None:
        return None
    end = stage.finished_at or job.finished_at or now
    if end < job.started_at:
        return None
    return Span(
        milliseconds_between(job.started_at, stage.started_at),
        milliseconds_between(job.started_at, end),
    )
