"""What stages have counted, what that shows, and how long it will take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from ingestion_progress.wire.forecast.history import ITEM_VARIANCE, LEAST_SECONDS

# The variance of the logarithm of a cost that is observed, of the change of speed that may come.
OBSERVED_VARIANCE = 0.15**2
# If more was done than expected, this share of it is expected to be left.
LEAST_SHARE_LEFT = 0.25
# Below half of what one item of usual variance shows, items show nothing: the first ones of a stage
# that counts batches are either its start or a whole batch.
LEAST_OBSERVED = 0.5
# A less likely value was not expected, and says nothing about how much larger it will be.
LEAST_PROBABILITY = 0.01
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class StageCounts:
    """A planned stage at one moment."""

    processed: int = 0
    total: int = 0
    """0: unknown."""
    seconds: float | None = None
    """Seconds from its start until now, or until its end, without pauses; None before its start."""
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
    """A logarithm of seconds, or of seconds per item."""

    value: float
    variance: float

    def blended(self, other: Estimate) -> Estimate:
        """The mean of both, weighted by their precision."""
        whole = self.variance + other.variance
        value = (self.value * other.variance + other.value * self.variance) / whole
        return Estimate(value, self.variance * other.variance / whole)


def observed_cost(stage: StageCounts, item_variance: float = ITEM_VARIANCE) -> Estimate | None:
    """Seconds per item, as the stage itself shows them; None before enough items show it.

    Each item has the weight of the age at which it was counted: in a stage of constant speed the
    sum of these ages is half of the items times the age, so twice the sum by its square is the
    speed. A later item counts more than an early one, and a change of speed shows soon.
    """
    if not stage.seconds or min(stage.seconds, stage.item_ages) < LEAST_SECONDS:
        return None
    speed = 2 * stage.item_ages / stage.seconds**2
    items = speed * stage.seconds
    if items * ITEM_VARIANCE < item_variance * LEAST_OBSERVED:
        return None
    return Estimate(-math.log(speed), OBSERVED_VARIANCE + item_variance / items)


def median_beyond(middle: float, variance: float, reached: float) -> float:
    """The median of a log-normal quantity that has turned out to be larger than `reached`.

    `middle`: its median before; `variance`: of its logarithm.
    """
    least = reached * (1 + LEAST_SHARE_LEFT)
    if min(middle, reached) < LEAST_SECONDS:
        return max(middle, least)
    deviation = math.sqrt(variance)
    larger = 1 - NORMAL.cdf(math.log(reached / middle) / deviation)
    if larger < LEAST_PROBABILITY:
        return least
    return max(least, middle * math.exp(deviation * NORMAL.inv_cdf(1 - larger / 2)))
