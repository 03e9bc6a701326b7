"""The forecast of a running attempt, computed with each write that changes its counts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from ingestion_progress.models import Job, Stage
from ingestion_progress.models.stages import plan_percent
from ingestion_progress.models.statuses import StageStatus
from ingestion_progress.wire.forecast import (
    History,
    Remaining,
    StageCounts,
    by_weights,
    remaining,
    time_percent,
)

logger = logging.getLogger("ingestion_progress.tracker")

# A stage pauses if no item comes for this many usual intervals, and for at least this long.
PAUSE_INTERVALS = 10.0
LEAST_PAUSE_SECONDS = 2.0
# Fewer items do not show what is usual.
LEAST_ITEMS = 4.0
# A write after an outage of the database has all items of that time.
PAUSED_SHARE = 0.2
# PostgreSQL cannot store a date that is much later.
MAX_SECONDS = 10.0 * 365 * 86_400


class StageClocks:
    """What the clocks of a job's stages show at one write: their age when items are counted, and
    their pauses.
    """

    def __init__(self, job: Job, stages: Sequence[Stage], now: datetime) -> None:
        self.now = now
        self.have_counted = False
        self._stages = stages
        self._gap = max(0.0, (now - job.updated_at).total_seconds())
        self._before = [_counts(stage) for stage in stages]

    def update(self) -> Iterable[Stage]:
        """To be called after the changes. Returns the stages whose clocks have changed."""
        self.have_counted = self._before != [_counts(stage) for stage in self._stages]
        running = [each for each in self._stages if each.stage_status is StageStatus.IN_PROGRESS]
        pause = max((self._pause(stage) for stage in running), default=0.0)
        for stage, (processed, *_) in zip(self._stages, self._before, strict=True):
            if pause and stage in running:
                stage.paused_seconds += pause
                yield stage
            if stage.processed > processed and stage.started_at:
                age = running_seconds(stage, self.now) or 0.0
                # They were processed at some time since the last write.
                age -= min(age, self._gap - pause) / 2
                stage.item_ages += age * (stage.processed - processed)

    def _pause(self, stage: Stage) -> float:
        """How long the stage has paused since the last write."""
        age = (running_seconds(stage, self.now) or 0.0) - self._gap
        if self._gap < LEAST_PAUSE_SECONDS or age <= 0:
            return 0.0
        items = 2 * stage.item_ages / age
        if items < LEAST_ITEMS or self._gap < PAUSE_INTERVALS * age / items:
            return 0.0
        expected = self._gap * items / age
        counted = stage.processed - self._before[self._stages.index(stage)][0]
        return self._gap - age / items if counted < PAUSED_SHARE * expected else 0.0


def running_seconds(stage: Stage, now: datetime) -> float | None:
    """How long the stage has run until now, or until its end, without pauses; None before that."""
    if stage.started_at is None:
        return None
    seconds = ((stage.finished_at or now) - stage.started_at).total_seconds()
    return max(0.0, seconds - stage.paused_seconds)


def update_forecast(
    job: Job, stages: Sequence[Stage], history: History, *, before: datetime
) -> None:
    """Sets when the job is likely to end and, with history, its percentage. Where the history does
    not help, the weights and the speed so far do.

    Only after a change of its counts: until the next one, the time that is left becomes less.
    """
    now = job.updated_at
    planned = plan_percent(stages)
    elapsed = (now - (job.started_at or now)).total_seconds()
    left = forecast_at(job, stages, history)
    job.is_forecast_by_weights = left is None
    if left is None:
        counts = [counts_of(stage, now) for stage in stages]
        left = by_weights(counts, _weights(stages), elapsed, planned, history.start_percent)
    if job.former_jobs:
        passed = max(0.0, (now - before).total_seconds())
        job.reached_percent = (
            max(job.reached_percent, planned)
            if left is None
            else time_percent(
                job.reached_percent,
                passed,
                left.likely,
                elapsed=elapsed,
                start=history.start_percent,
            )
        )
    set_ends(job, left, now)


def _weights(stages: Sequence[Stage]) -> list[float]:
    return [0.0 if each.stage_status is StageStatus.SKIPPED else each.weight for each in stages]


def forecast_at(job: Job, stages: Sequence[Stage], history: History) -> Remaining | None:
    """The forecast at the last write; None without a history of these stages.

    Counts matter more than a forecast: an error of it is logged, and the write goes on.
    """
    if len(history.stages) != len(stages):
        return None
    try:
        return remaining([counts_of(stage, job.updated_at) for stage in stages], history)
    except (ArithmeticError, TypeError, ValueError):
        _log_failure(job.pk)
        return None


@lru_cache(maxsize=1000)
def _log_failure(job_id: str) -> None:
    """Once for each job."""
    logger.exception("forecast_failed", extra={"job_id": job_id})  # noqa: LOG004  (in a handler)


def counts_of(stage: Stage, now: datetime) -> StageCounts:
    return StageCounts(
        processed=stage.processed,
        total=stage.total,
        seconds=running_seconds(stage, now),
        item_ages=stage.item_ages,
        is_over=stage.stage_status.is_ending,
    )


def set_ends(job: Job, left: Remaining | None, now: datetime) -> None:
    if left is None or left.high > MAX_SECONDS:
        job.likely_end_at = job.earliest_end_at = job.latest_end_at = None
        return
    job.likely_end_at = now + timedelta(seconds=left.likely)
    job.earliest_end_at = now + timedelta(seconds=left.low)
    job.latest_end_at = now + timedelta(seconds=left.high)


def _counts(stage: Stage) -> tuple[int, int, str]:
    return stage.processed, stage.total, stage.status
