"""Paths of charts as SVG: in a square of 100 by 100, which the page stretches.

`charts.js` draws the same ones.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]
"""Where on the axis, 0 to 100, and a value."""
# Bars of a throughput: fewer than samples, so that each is the mean of several.
MAX_BARS = 60


def number(value: float) -> str:
    """With at most one decimal."""
    return f"{math.floor(value * 10 + 0.5) / 10:g}"


def area_path(points: Sequence[Point], ceiling: float) -> str:
    """The area below a line; `ceiling` is the value at the top. Empty without an area."""
    if not points or ceiling <= 0:
        return ""
    line = "L".join(f"{number(x)} {_height(value, ceiling)}" for x, value in points)
    return f"M{number(points[0][0])} 100L{line}L{number(points[-1][0])} 100Z"


def steps_path(points: Sequence[Point], ceiling: float) -> str:
    """The area below values that hold until the next one, the last one to the end."""
    if not points or ceiling <= 0:
        return ""
    steps = "".join(f"H{number(x)}V{_height(value, ceiling)}" for x, value in points)
    return f"M{number(points[0][0])} 100{steps}H100V100Z"


def throughput(counts: Sequence[Point], whole_ms: float) -> list[float]:
    """Items per second in intervals of equal length, from counts at milliseconds."""
    bars = min(MAX_BARS, len(counts) - 1)
    if bars < 1 or whole_ms <= 0:
        return []
    edges = [count_at(counts, whole_ms * bar / bars) for bar in range(bars + 1)]
    seconds = whole_ms / bars / 1000
    return [max(0.0, after - before) / seconds for before, after in pairwise(edges)]


def count_at(counts: Sequence[Point], at_ms: float) -> float:
    """The count on the line between two counts; before and after all, the first and the last."""
    before = counts[0]
    for after in counts:
        if after[0] > at_ms:
            if after[0] == before[0] or at_ms <= before[0]:
                return before[1]
            share = (at_ms - before[0]) / (after[0] - before[0])
            return before[1] + share * (after[1] - before[1])
        before = after
    return before[1]


def spread(values: Sequence[float]) -> list[Point]:
    """Values at equal distances over the whole axis."""
    return [(100 * index / len(values), value) for index, value in enumerate(values)]


def _height(value: float, ceiling: float) -> str:
    return number(100 - 100 * min(1.0, max(0.0, value / ceiling)))
