"""How far a job is and how long it may still take: pure functions of numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# The five stages of document ingestion, weighted roughly by the time they take.
DEFAULT_WEIGHTS = {
    "parsing": 10.0,
    "vlm": 15.0,
    "chunking": 5.0,
    "embedding": 25.0,
    "extraction": 45.0,
}

# Below these an extrapolation says more about start-up than about the job.
MIN_PERCENT_FOR_ESTIMATE = 1.0
MIN_ELAPSED_MS_FOR_ESTIMATE = 1000

# In tenths of a percent: above the rounding error of a mean, below one item of a billion.
FLOAT_ERROR = 1e-9


def stage_percent(*, processed: int, total: int, is_completed: bool) -> float:
    """0 to 100. A completed stage is at 100; one whose total is unknown (0) is at 0."""
    if is_completed:
        return 100.0
    # Multiplied first: as floats, 29 / 100 * 100 is below 29.
    return min(100.0, processed * 100 / total) if total else 0.0


def overall_percent(stages: Iterable[tuple[float, float]]) -> float:
    """The weighted mean of the planned stages' percentages, from (weight, percent) pairs.

    0 to 100, in full precision; 0 if no stage is planned.
    """
    weights = done = 0.0
    for weight, percent in stages:
        weights += weight
        done += weight * percent
    return min(100.0, done / weights) if weights else 0.0


def shown_percent(percent: float) -> float:
    """One decimal, rounded down: only finished work shows 100."""
    if percent >= 100:
        return 100.0
    return min(99.9, math.floor(percent * 10 + FLOAT_ERROR) / 10)


def remaining_ms(*, elapsed_ms: int, percent: float) -> int:
    """The remaining time at the job's mean speed so far; 0 while too little is known."""
    if percent < MIN_PERCENT_FOR_ESTIMATE or elapsed_ms < MIN_ELAPSED_MS_FOR_ESTIMATE:
        return 0
    return round(elapsed_ms * (100 - percent) / percent)
