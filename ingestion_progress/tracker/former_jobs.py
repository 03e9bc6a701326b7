"""The history of a job: read and frozen at the start of an attempt, added to at its success."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import astuple, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from ingestion_progress.conf import conf
from ingestion_progress.models import Job, JobSamples, Stage
from ingestion_progress.models.stages import overall_percent, plan_percent, stage_percent
from ingestion_progress.models.statuses import StageStatus
from ingestion_progress.tracker.database import (
    progress_alias,
    rows,
    rows_of,
    rows_of_jobs,
    upsert,
)
from ingestion_progress.tracker.forecasts import forecast_at, running_seconds, set_ends
from ingestion_progress.tracker.samples import sample_of
from ingestion_progress.wire.forecast import History, StageTime, learn
from ingestion_progress.wire.forecast.item_variance import item_variance
from ingestion_progress.wire.forecast.remaining import RANGE_DEVIATIONS

# Shorter attempts say more about start-up than about stages.
LEAST_MS = 1000
# The format of a stage's stored times: history of another format is not read.
FORMAT = 2
SCORED_PERCENTS = (10, 25, 50, 75)
SAMPLES_COLUMNS = (
    *("stages", "samples", "plan", "history", "times", "scores", "error", "succeeded_at"),
)


def plan_digest(job: Job, stages: Sequence[Stage]) -> str:
    """The same for attempts of the same task with the same stages."""
    plan = json.dumps([FORMAT, job.task, [stage.name for stage in stages]])
    return hashlib.sha256(plan.encode()).hexdigest()[:32]


def begin_forecast(job: Job, stages: Sequence[Stage]) -> History:
    """Freezes the history of an attempt that starts, and writes its first sample. The caller
    saves the job.
    """
    plan = plan_digest(job, stages)
    reached = plan_percent(stages)
    history = replace(_read_history(plan), start_percent=reached)
    job.former_jobs = history.former_jobs
    job.reached_percent = reached
    left = forecast_at(job, stages, history)
    job.is_forecast_by_weights = left is None
    set_ends(job, left, job.updated_at)
    frozen = history.to_json()
    first = JobSamples(
        job=job,
        attempt=job.attempt,
        stages=[stage.name for stage in stages],
        samples=[sample_of(job, stages, job.updated_at)],
        plan=plan,
        history=frozen,
    )
    upsert(JobSamples, [first], by=["job", "attempt"], columns=SAMPLES_COLUMNS)
    return History.from_json(frozen)


def _read_history(plan: str) -> History:
    """The history of the newest jobs with this plan."""
    if conf.former_jobs <= 0:
        return History()
    newest = rows(JobSamples).filter(plan=plan, succeeded_at__isnull=False)
    found = newest.order_by("-succeeded_at").values_list("times", "error")[: conf.former_jobs]
    times = [[StageTime(*time) for time in each] for each, _ in found if each]
    return learn(times, [error for _, error in found if error is not None])


def history_of(job: Job) -> History:
    """The history of the current attempt, as it was frozen."""
    found = rows_of(JobSamples, job).filter(attempt=job.attempt)
    return History.from_json(found.values_list("history", flat=True).first() or {})


def record_times(job: Job, stages: Sequence[Stage]) -> None:
    """After the success of a locked job: stores what its stages did, and scores its forecasts."""
    if job.started_at is None or job.finished_at is None:
        return
    whole_ms = round((job.finished_at - job.started_at).total_seconds() * 1000)
    if whole_ms < LEAST_MS:
        return
    stored = next(iter(rows_of_jobs(JobSamples, [job.pk], attempt=job.attempt)), None)
    if stored is None or not stored.plan or len(stored.samples[-1][2]) != len(stages):
        return
    stored.times = [astuple(time) for time in stage_times(stored.samples, stages, job.finished_at)]
    stored.scores = scores(job, stages, stored.samples, whole_ms)
    stored.error = squared_error(stored.scores, History.from_json(stored.history or {}))
    stored.succeeded_at = job.finished_at
    stored.save(update_fields=["times", "scores", "error", "succeeded_at"], using=progress_alias())


def stage_times(
    samples: Sequence[list[Any]], stages: Sequence[Stage], ended_at: datetime
) -> list[StageTime]:
    """What each stage did in an attempt until its end, by its row and the samples."""
    overlaps = [0.0, *(_overlap(before, stage) for before, stage in pairwise(stages))]
    return [
        replace(
            _stage_time(stage, samples, index),
            overlap=overlaps[index],
            gap_seconds=_gap_seconds(stage, stages, ended_at),
        )
        for index, stage in enumerate(stages)
    ]


def _stage_time(stage: Stage, samples: Sequence[list[Any]], index: int) -> StageTime:
    has_run = stage.stage_status is StageStatus.COMPLETED and stage.finished_at is not None
    seconds = running_seconds(stage, stage.finished_at) if has_run and stage.finished_at else 0.0
    counts = [(elapsed_ms, processed[index]) for elapsed_ms, _, processed, *_ in samples]
    first_total = next((totals[index] for _, _, _, totals, *_ in samples if totals[index]), 0)
    counted = stage.processed - counts[0][1]
    return StageTime(
        items=max(1, counted) if seconds else 0,
        total=max(stage.total, stage.processed),
        seconds=seconds or 0.0,
        overlap=0.0,
        has_grown=first_total < 0.95 * stage.total,
        item_variance=item_variance(counts),
    )


def _overlap(before: Stage, stage: Stage) -> float:
    starts, ends = [before.started_at, stage.started_at], [before.finished_at, stage.finished_at]
    if not all(starts) or not all(ends):
        return 0.0
    shorter = min((end - start).total_seconds() for start, end in zip(starts, ends, strict=True))  # type: ignore[operator]
    both = (min(ends) - max(starts)).total_seconds()  # type: ignore[type-var, operator]
    return max(0.0, both / shorter) if shorter > 0 else 0.0


def _gap_seconds(stage: Stage, stages: Sequence[Stage], ended_at: datetime) -> float:
    """Between the end of the stage and the next start of one, or the end of the attempt."""
    end = stage.finished_at
    if end is None or stage.stage_status is not StageStatus.COMPLETED:
        return 0.0
    ran = [each for each in stages if each.started_at and each.finished_at and each is not stage]
    if any(each.started_at <= end < each.finished_at for each in ran):  # type: ignore[operator]
        return 0.0
    starts = [each.started_at for each in ran if each.started_at and each.started_at >= end]
    return max(0.0, (min([*starts, ended_at]) - end).total_seconds())


def scores(
    job: Job, stages: Sequence[Stage], samples: Sequence[list[Any]], whole_ms: int
) -> list[list[Any]]:
    """A row for each of SCORED_PERCENTS of the true time: that percentage, the true remaining
    milliseconds, those that were forecast (likely, low, high), and those of the linear formula;
    null where nothing was.
    """
    return [
        [percent, whole_ms - at_ms, *_said(samples, at_ms), _linear_ms(job, stages, samples, at_ms)]
        for percent in SCORED_PERCENTS
        for at_ms in [round(whole_ms * percent / 100)]
    ]


def squared_error(scored: Sequence[list[Any]], history: History) -> float | None:
    """The mean square of the errors, in the standard deviations of ranges of a usual width."""
    squares = []
    for _, true_ms, likely, _, high, _ in scored:
        # `high` of a short job may equal `likely`, because both are whole milliseconds.
        if history.former_jobs and likely is not None and high > likely > 0 and true_ms > 0:
            deviation = math.log(high / likely) / RANGE_DEVIATIONS / history.spread
            squares.append((math.log(true_ms / likely) / deviation) ** 2)
    return sum(squares) / len(squares) if squares else None


def _sample_at(samples: Sequence[list[Any]], at_ms: int) -> list[Any]:
    """The last one until then, or the first if the clock was set back."""
    return next((each for each in reversed(samples) if each[0] <= at_ms), samples[0])


def _said(samples: Sequence[list[Any]], at_ms: int) -> list[int | None]:
    """The forecast of the last sample before, which becomes less with time."""
    elapsed_ms, _, _, _, left, *_ = _sample_at(samples, at_ms)
    return [None] * 3 if left is None else [each - (at_ms - elapsed_ms) for each in left]


def _linear_ms(
    job: Job, stages: Sequence[Stage], samples: Sequence[list[Any]], at_ms: int
) -> int | None:
    """The user's specification: the declared weights, at the mean speed so far."""
    elapsed_ms, _, processed, totals, *_ = _sample_at(samples, at_ms)
    planned = [
        (
            stage.weight,
            stage_percent(
                processed=done, total=total, is_completed=_had_ended(job, stage, elapsed_ms)
            ),
        )
        for stage, done, total in zip(stages, processed, totals, strict=True)
        if stage.stage_status is not StageStatus.SKIPPED
    ]
    percent = overall_percent(planned)
    return round(at_ms * (100 - percent) / percent) if percent >= 1 else None


def _had_ended(job: Job, stage: Stage, elapsed_ms: int) -> bool:
    if stage.finished_at is None or job.started_at is None:
        return False
    return (stage.finished_at - job.started_at).total_seconds() * 1000 <= elapsed_ms
