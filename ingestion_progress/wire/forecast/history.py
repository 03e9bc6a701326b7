"""What earlier jobs with the same stages say about a new one.

Costs of items are log-normal: one document is twice as slow as another, not two seconds slower. So
means and variances are those of logarithms, and medians keep outliers out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from statistics import mean, median
from typing import Any, Self

# How much the cost of an item differs between jobs, as long as few jobs are known: the standard
# deviation of its logarithm, which counts as much as so many jobs.
USUAL_DEVIATION = 0.4
USUAL_JOBS = 4
# The same of one item within a job: items vary, come in batches, and the host has other work.
ITEM_VARIANCE = 0.5
# A stage is never known to be more even than this.
LEAST_ITEM_VARIANCE = 0.1
# An error of a forecast in standard deviations, above which it says no more than that it was wrong.
MAX_ERROR = 3.0
# The resolution of clocks: less is no time.
LEAST_SECONDS = 1e-6
# The usual width of a range counts as much as the errors of so many jobs.
USUAL_ERRORS = 8


@dataclass(frozen=True, slots=True)
class StageTime:
    """What a stage of an attempt that succeeded has done, and how long it took."""

    items: int
    """Counted in this attempt; 1 for a stage that has run without counting."""
    total: int
    """Items of the whole stage, those of earlier attempts included."""
    seconds: float
    """Without pauses; 0 for a stage that has not run."""
    overlap: float
    """How much of it ran together with the stage before it, as a share of the shorter of both."""
    has_grown: bool
    """Its total was found step by step."""
    item_variance: float | None = None
    """The variance of the logarithm of the time of one item, as if it changed with each; None if
    there were too few items."""
    gap_seconds: float = 0.0
    """The time after its end in which no stage ran."""


@dataclass(frozen=True, slots=True)
class StageHistory:
    log_seconds: float | None = None
    """Logarithm of the seconds per item; None: the stage has never run."""
    variance: float = USUAL_DEVIATION**2
    """The variance of that logarithm, for one more job."""
    items: float = 0.0
    overlaps: bool = False
    """It runs at the same time as the stage before it."""
    grows: bool = False
    """Its total is complete only when the stage before it has ended."""
    item_variance: float = ITEM_VARIANCE
    """The variance of the logarithm of the time of one item within a job."""
    gap_seconds: float = 0.0
    """The time after its end in which no stage runs."""


@dataclass(frozen=True, slots=True)
class History:
    """Frozen at the start of an attempt, so that all who compute a forecast get the same."""

    stages: tuple[StageHistory, ...] = ()
    former_jobs: int = 0
    spread: float = 1.0
    """By how much the errors of former forecasts exceeded their ranges."""
    start_percent: float = 0.0
    """The overall percentage that earlier attempts had reached."""

    def to_json(self) -> dict[str, Any]:
        return {
            "stages": [astuple(stage) for stage in self.stages],
            "former_jobs": self.former_jobs,
            "spread": self.spread,
            "start_percent": self.start_percent,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The history that `to_json` describes; without any if it is empty."""
        stages = tuple(StageHistory(*stage) for stage in stored.get("stages", ()))
        return cls(**{**stored, "stages": stages})


def learn(jobs: Sequence[Sequence[StageTime]], errors: Sequence[float] = ()) -> History:
    """The history of jobs, each with its stages in order.

    `errors`: the mean squares of the errors of their forecasts, in standard deviations.
    """
    if not jobs:
        return History()
    worst = MAX_ERROR**2
    squares = sum(min(error, worst) for error in errors) + USUAL_ERRORS
    return History(
        stages=tuple(_stage_history(times) for times in zip(*jobs, strict=True)),
        former_jobs=len(jobs),
        spread=math.sqrt(squares / (len(errors) + USUAL_ERRORS)),
    )


def _stage_history(times: Sequence[StageTime]) -> StageHistory:
    logs = [
        math.log(each.seconds / each.items)
        for each in times
        if each.seconds >= LEAST_SECONDS and each.items
    ]
    items = median(max(each.total, min(1, each.items)) for each in times)
    if not logs:
        return StageHistory(items=items)
    middle = _middle(logs)
    squares = sum((log - middle) ** 2 for log in logs) + USUAL_JOBS * USUAL_DEVIATION**2
    variance = squares / (len(logs) + USUAL_JOBS)
    return StageHistory(
        log_seconds=middle,
        variance=variance * (1 + 1.1 / len(logs)),  # 1.1: of the middle, which is less certain
        items=items,
        overlaps=median(each.overlap for each in times) > 1 / 3,
        grows=mean(each.has_grown for each in times) > 1 / 2,
        item_variance=_item_variance(times),
        gap_seconds=median(each.gap_seconds for each in times),
    )


def _middle(values: Sequence[float]) -> float:
    """The median of the means of all pairs (Hodges and Lehmann): robust to outliers as a median,
    and of few values nearly as certain as a mean.
    """
    return median((a + b) / 2 for index, a in enumerate(values) for b in values[index:])


def _item_variance(times: Sequence[StageTime]) -> float:
    found = [
        math.log(max(LEAST_ITEM_VARIANCE, each.item_variance))
        for each in times
        if each.item_variance is not None
    ]
    usual = USUAL_JOBS * math.log(ITEM_VARIANCE)
    return math.exp((usual + sum(found)) / (USUAL_JOBS + len(found)))
