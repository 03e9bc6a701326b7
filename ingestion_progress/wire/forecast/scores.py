"""How good forecasts were, beside the linear formula of the user's specification."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

# An error counts as at most this many percent; an unknown time counts as this many.
MAX_ERROR_PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Score:
    """A forecast and the truth at one percentage of a job's true time. Any unit; None: unknown."""

    at_percent: int
    true: float
    likely: float | None
    low: float | None
    high: float | None
    linear: float | None

    @classmethod
    def of(cls, stored: Sequence[Any]) -> Score:
        """A row of `JobSamples.scores`. A time that had passed was shown as unknown."""
        at_percent, true, *times = stored
        likely, low, high, linear = (each if each and each > 0 else None for each in times)
        return cls(at_percent, true, likely, low, high, linear)

    @property
    def is_within(self) -> bool:
        return (self.low or 0) <= self.true <= (self.high or 0)


@dataclass(frozen=True, slots=True)
class Summary:
    """Errors in percent of the true remaining time."""

    jobs: int
    median_error: float
    mean_error: float
    linear_median_error: float
    linear_mean_error: float
    within_percent: float
    """How many of the true ends lay within the range; it is meant to be 80."""


def summarise(scores: Iterable[Score]) -> dict[int, Summary]:
    """By percentage of the true time."""
    by_percent: defaultdict[int, list[Score]] = defaultdict(list)
    for score in scores:
        by_percent[score.at_percent].append(score)
    return {percent: _summary(found) for percent, found in sorted(by_percent.items())}


def error_percent(forecast: float | None, true: float) -> float:
    if forecast is None or true <= 0:
        return MAX_ERROR_PERCENT
    return min(MAX_ERROR_PERCENT, abs(forecast - true) / true * 100)


def table(summaries: dict[int, Summary]) -> str:
    """Lines of text, with a column for each percentage."""
    rows = {
        "at % of the true time": [f"{percent}" for percent in summaries],
        "error, median %": [f"{each.median_error:.0f}" for each in summaries.values()],
        "error, mean %": [f"{each.mean_error:.0f}" for each in summaries.values()],
        "linear formula, median %": [f"{e.linear_median_error:.0f}" for e in summaries.values()],
        "linear formula, mean %": [f"{each.linear_mean_error:.0f}" for each in summaries.values()],
        "true end within the range, %": [f"{e.within_percent:.0f}" for e in summaries.values()],
    }
    return "".join(
        f"  {name:30}{''.join(f'{cell:>6}' for cell in cells)}\n" for name, cells in rows.items()
    )


def _summary(scores: Sequence[Score]) -> Summary:
    errors = [error_percent(score.likely, score.true) for score in scores]
    linear = [error_percent(score.linear, score.true) for score in scores]
    return Summary(
        jobs=len(scores),
        median_error=median(errors),
        mean_error=mean(errors),
        linear_median_error=median(linear),
        linear_mean_error=mean(linear),
        within_percent=100 * mean(score.is_within for score in scores),
    )
