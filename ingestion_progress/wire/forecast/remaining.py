"""The remaining time of a job that runs, as a likely value and a range.

Each stage has its items left and a cost per item: that of former jobs, corrected by the pace of
this job, and blended with what the stage itself shows, by their variances. Stages that overlap take
as long as the slowest of them; the others follow one another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingestion_progress.wire.forecast.history import LEAST_SECONDS, History, StageHistory

# The variance of the logarithm of a cost that is observed: of the change of speed that may come,
# and of one item.
OBSERVED_VARIANCE = 0.15**2
ITEM_VARIANCE = 0.5
# The pace is how much slower this job is than former ones, in all its stages: the variance of its
# logarithm before a stage was observed, and what each further stage adds.
PACE_VARIANCE = 0.1
PACE_DRIFT = 0.1
# Of a number of items that is derived from those of another stage.
ITEMS_VARIANCE = 0.15
# What no model knows.
LEAST_VARIANCE = 0.08
# 80 % of a normal distribution lie within so many standard deviations.
RANGE_DEVIATIONS = 1.28
# Of a range: a wider one says nothing, and its logarithm may be more than a float can hold.
MAX_LOG_FACTOR = 20.0
# Without history: 64 to 89 % of generated jobs end within this factor of the linear formula.
UNKNOWN_FACTOR = 4.0
# Of a stage whose first item takes longer than expected.
LEAST_SHARE_LEFT = 0.25

# Below these an extrapolation says more about start-up than about the job.
MIN_PERCENT = 1.0
MIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class StageCounts:
    """A planned stage at one moment."""

    processed: int = 0
    total: int = 0
    """0: unknown."""
    seconds: float | None = None
    """Since its start until now, or until its end, without pauses; None before its start."""
    item_ages: float = 0.0
    """The sum of the ages of the stage, in seconds, at which its items were counted."""
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Remaining:
    """Seconds; 80 of 100 jobs end between `low` and `high`."""

    likely: float
    low: float
    high: float

    @classmethod
    def within(cls, likely: float, factor: float) -> Remaining:
        return cls(likely, likely / factor, likely * factor)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A logarithm of seconds per item."""

    value: float
    variance: float

    def blended(self, other: Estimate) -> Estimate:
        """The mean of both, weighted by their precision."""
        whole = self.variance + other.variance
        value = (self.value * other.variance + other.value * self.variance) / whole
        return Estimate(value, self.variance * other.variance / whole)


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
        slowest = max(group, key=lambda time: time[0])
        seconds += slowest[0]
        variance += slowest[0] ** 2 * slowest[1]
    if not seconds and any(not each.is_over and each.seconds is None for each in stages):
        return None
    relative = variance / seconds**2 if seconds >= LEAST_SECONDS else 0.0
    deviation = history.spread * math.sqrt(relative + LEAST_VARIANCE)
    log_factor = min(MAX_LOG_FACTOR, RANGE_DEVIATIONS * deviation)
    return Remaining.within(seconds, math.exp(log_factor))


def linear(
    seconds: float, percent: float, start_percent: float = 0.0, *, factor: float = UNKNOWN_FACTOR
) -> Remaining | None:
    """The remaining time at the mean speed of the attempt so far; None while too little is known.

    The formula of the user's specification, which needs no history.
    """
    gained = percent - start_percent
    if gained < MIN_PERCENT or seconds < MIN_SECONDS:
        return None
    return Remaining.within(seconds * max(0.0, 100 - percent) / gained, factor)


def time_percent(reached: float, passed: float, left: float) -> float:
    """The percentage after `passed` more seconds, if `left` remain.

    It moves at the speed with which it arrives at 100 in time. So it never falls, never jumps, and
    reaches 100 only when nothing is left.
    """
    share = passed / (passed + left) if passed + left > 0 else 0.0
    return min(100.0, reached + (100.0 - reached) * share)


def _stage_times(
    stages: Sequence[StageCounts], history: History
) -> Iterator[tuple[float, float] | None]:
    """The seconds left of each stage, with the variance of their logarithm; None: unknown."""
    costs = [_observed(stage) for stage in stages]
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
        left = max(0.0, items - stage.processed) * math.exp(cost.value)
        if stage.seconds and not stage.item_ages:
            left = max(left - stage.seconds, left * LEAST_SHARE_LEFT)
        yield left, cost.variance + (0.0 if stage.total else ITEMS_VARIANCE)


def _observed(stage: StageCounts) -> Estimate | None:
    """The cost that the stage itself shows; None before its first item.

    Each item has the weight of the age at which it was counted: in a stage of constant speed the
    sum of these ages is half of the items times the age, so twice the sum by its square is the
    speed. A later item counts more than an early one, and a change of speed shows soon.
    """
    if not stage.seconds or min(stage.seconds, stage.item_ages) < LEAST_SECONDS:
        return None
    speed = 2 * stage.item_ages / stage.seconds**2
    return Estimate(-math.log(speed), OBSERVED_VARIANCE + ITEM_VARIANCE / (speed * stage.seconds))


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
    if total and not grows:
        return total
    return max(float(total), former.items * _size(stages, history))


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
