"""The remaining time of a job without history: at the speed that it has shown so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ingestion_progress.wire.forecast.estimates import (
    Estimate,
    Remaining,
    StageCounts,
    observed_cost,
)

# About 80 % of generated jobs end within this factor of it.
UNKNOWN_FACTOR = 3.5
# A weight is declared, not measured: the variance of the logarithm of the time that it says.
WEIGHT_VARIANCE = 0.5
# How unevenly a stage counts is not known either, so it is assumed to count batches.
UNKNOWN_ITEM_VARIANCE = 4.0
# Below these an extrapolation says more about start-up than about the job.
MIN_PERCENT = 1.0
MIN_SECONDS = 1.0


def linear(
    seconds: float, percent: float, start_percent: float = 0.0, *, factor: float = UNKNOWN_FACTOR
) -> Remaining | None:
    """The remaining time at the mean speed of the attempt so far; None while too little is known.

    The formula of the user's specification.
    """
    gained = percent - start_percent
    if gained < MIN_PERCENT or seconds < MIN_SECONDS:
        return None
    return Remaining.within(seconds * max(0.0, 100 - percent) / gained, factor)


def by_weights(
    stages: Sequence[StageCounts],
    weights: Sequence[float],
    seconds: float,
    percent: float,
    start_percent: float = 0.0,
) -> Remaining | None:
    """The remaining time of stages with these weights; None while too little is known.

    `weights`: 0 for a stage that is skipped. `percent`: the weighted mean of the stages, which was
    `start_percent` at the start of the attempt `seconds` ago. Stages that run go on at once, each
    at its own speed. The others follow one another, each as long as its weight says at the mean
    speed of the attempt so far.
    """
    if linear(seconds, percent, start_percent) is None or not sum(weights):
        return None
    seconds_of_weight = seconds / (percent - start_percent) * 100 / sum(weights)
    running = waiting = 0.0
    for stage, weight in zip(stages, weights, strict=True):
        if stage.is_over or not weight:
            continue
        expected = weight * seconds_of_weight
        if stage.seconds is None:
            waiting += expected
        else:
            running = max(running, _seconds_left(stage, expected))
    return Remaining.within(running + waiting, UNKNOWN_FACTOR)


def _seconds_left(stage: StageCounts, expected: float) -> float:
    """`expected`: the seconds of the whole stage by its weight."""
    cost = observed_cost(stage, UNKNOWN_ITEM_VARIANCE)
    if cost is None or not stage.total:
        return expected
    items_left = max(0, stage.total - stage.processed)
    if not items_left:
        return 0.0
    left = Estimate(cost.value + math.log(items_left), cost.variance)
    by_weight = Estimate(math.log(expected * items_left / stage.total), WEIGHT_VARIANCE)
    return math.exp(left.blended(by_weight).value)
