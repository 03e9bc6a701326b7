"""The remaining time of a job that runs, as a likely value and a range.

Each stage has its items left and a cost per item: that of former jobs, corrected by the pace of
this job, and blended with what the stage itself shows, by their variances. Stages that overlap take
as long as the slowest of them; the others follow one another, with gaps as in former jobs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ingestion_progress.wire.forecast.estimates import (
    Estimate,
    Remaining,
    StageCounts,
    median_beyond,
    observed_cost,
)
from ingestion_progress.wire.forecast.history import LEAST_SECONDS, History, StageHistory

# The pace is how much slower this job is than former ones, in all its stages: the variance of its
# logarithm before a stage was observed, and what each further stage adds.
PACE_VARIANCE = 0.1
PACE_DRIFT = 0.1
# The variance of a number of items that is derived from those of another stage.
ITEMS_VARIANCE = 0.15
# The variance that no model explains.
LEAST_VARIANCE = 0.08
# 80 % of a normal distribution lie within this many standard deviations.
RANGE_DEVIATIONS = 1.28
# Of stages that overlap, the one whose least time is the longest counts: its likely time, less so
# many standard deviations. So a stage that shows no speed does not hide the speed of the others.
LEAST_TIME_DEVIATIONS = 2.0
# A bar that is behind the time that has passed gets closer by two thirds in this share of the job.
CATCH_UP_SHARE = 0.05
# The widest range: a wider one says nothing, and a float may not hold its exponential.
MAX_LOG_FACTOR = 20.0


def remaining(stages: Sequence[StageCounts], history: History) -> Remaining | None:
    """The time until the last stage is over; None without history, or while a stage runs of which
    neither the history nor its own items show how long it takes.

    `stages` and those of the history are the same, in the same order. A stage that no earlier job
    has run is expected to be skipped, until it starts or nothing else is left.
    """
    if not history.former_jobs:
        return None
    times = list(_stage_times(stages, history))
    if any(time is None for time in times):
        return None
    seconds = variance = 0.0
    for group in _groups([time for time in times if time], history):
        slowest = max(group, key=_least_time)
        seconds += slowest[0]
        variance += slowest[0] ** 2 * slowest[1]
    if not seconds and any(not each.is_over and each.seconds is None for each in stages):
        return None
    seconds += _gaps(stages, history)
    relative = variance / seconds**2 if seconds >= LEAST_SECONDS else 0.0
    deviation = history.spread * math.sqrt(relative + LEAST_VARIANCE)
    log_factor = min(MAX_LOG_FACTOR, RANGE_DEVIATIONS * deviation)
    return Remaining.within(seconds, math.exp(log_factor))


def time_percent(
    reached: float, passed: float, left: float, *, elapsed: float = 0.0, start: float = 0.0
) -> float:
    """The percentage after `passed` more seconds, if `left` remain.

    It moves at the speed with which it arrives at 100 in time, and faster while it is behind the
    `elapsed` seconds of the attempt, which began at `start` percent. So it never falls, never
    jumps, and reaches 100 only when nothing is left.
    """
    share = passed / (passed + left) if passed + left > 0 else 0.0
    moved = reached + (100.0 - reached) * share
    whole = elapsed + left
    catch_up_seconds = CATCH_UP_SHARE * whole
    if catch_up_seconds > 0:  # the least numbers above 0 make it 0
        behind = start + (100.0 - start) * elapsed / whole - moved
        moved += max(0.0, behind) * -math.expm1(-passed / catch_up_seconds)
    return min(100.0, moved)


def _stage_times(
    stages: Sequence[StageCounts], history: History
) -> Iterator[tuple[float, float] | None]:
    """The seconds left of each stage, with the variance of their logarithm; None: unknown."""
    costs = [
        observed_cost(stage, former.item_variance)
        for stage, former in zip(stages, history.stages, strict=True)
    ]
    pace = _pace(stages, costs, history)
    for index, (stage, former) in enumerate(zip(stages, history.stages, strict=True)):
        cost = _cost(former, pace, costs[index])
        items = _items(index, stages, history)
        if stage.is_over:
            yield 0.0, 0.0
            continue
        if cost is None or not items:
            yield (0.0, 0.0) if stage.seconds is None else None
            continue
        items_left = max(0.0, items - stage.processed)
        left = items_left * math.exp(cost.value)
        variance = cost.variance + (0.0 if stage.total else ITEMS_VARIANCE)
        if stage.seconds and costs[index] is None:
            left = median_beyond(left, variance, stage.seconds) - stage.seconds
        yield left, variance + former.item_variance / max(1.0, items_left)


def _pace(
    stages: Sequence[StageCounts], costs: Sequence[Estimate | None], history: History
) -> Estimate:
    """By how much this job is slower, as the stages that have run show: a Kalman filter over them.

    A stage that waits for the one before it shows the pace of that one.
    """
    pace = Estimate(0.0, PACE_VARIANCE)
    for index, (cost, former) in enumerate(zip(costs, history.stages, strict=True)):
        waits = former.overlaps and not stages[index - 1].is_over
        if cost is None or former.log_seconds is None or waits:
            continue
        pace = Estimate(pace.value, pace.variance + PACE_DRIFT).blended(
            Estimate(cost.value - former.log_seconds, cost.variance + former.variance)
        )
    return pace


def _cost(former: StageHistory, pace: Estimate, observed: Estimate | None) -> Estimate | None:
    if former.log_seconds is None:
        return observed
    expected = former.log_seconds + pace.value
    if observed is None:
        return Estimate(expected, former.variance + pace.variance)
    return Estimate(expected, former.variance).blended(observed)


def _items(index: int, stages: Sequence[StageCounts], history: History) -> float:
    """The items of a stage: its total or, while that is unknown or grows, as many as usual for a
    document of this size. If the stage counts the document as one item, a larger one is more.
    """
    total, former = stages[index].total, history.stages[index]
    grows = former.grows and index > 0 and not stages[index - 1].is_over
    if total == former.items == 1 and not stages[index].processed:
        return _size(stages, history)
    usual = former.items * _size(stages, history)
    if (total and not grows) or not usual:
        return total
    return max(float(total), median_beyond(usual, ITEMS_VARIANCE, stages[index].processed))


def _size(stages: Sequence[StageCounts], history: History) -> float:
    """How much larger than usual the document is, by the finest total that is known: chunks say
    more about it than pictures do.
    """
    known = [
        (former.items, stage.total / former.items)
        for stage, former in zip(stages, history.stages, strict=True)
        if stage.total and former.items and (stage.is_over or not former.grows)
    ]
    return max(known, default=(0.0, 1.0))[1]


def _least_time(time: tuple[float, float]) -> float:
    seconds, variance = time
    return seconds * math.exp(-LEAST_TIME_DEVIATIONS * math.sqrt(variance))


def _gaps(stages: Sequence[StageCounts], history: History) -> float:
    """The time that is left in which no stage runs. Of a gap that has begun, all of it: nothing is
    counted meanwhile, so no forecast is made.
    """
    runs = any(stage.seconds is not None and not stage.is_over for stage in stages)
    ended = [index for index, stage in enumerate(stages) if stage.is_over and stage.seconds]
    now = -1 if runs or not ended else ended[-1]
    return sum(
        former.gap_seconds
        for index, (stage, former) in enumerate(zip(stages, history.stages, strict=True))
        if index == now or not stage.is_over
    )


def _groups(
    times: Sequence[tuple[float, float]], history: History
) -> list[list[tuple[float, float]]]:
    """Stages that overlap form a group."""
    groups: list[list[tuple[float, float]]] = []
    for time, former in zip(times, history.stages, strict=True):
        if former.overlaps and groups:
            groups[-1].append(time)
        else:
            groups.append([time])
    return groups
