"""How unevenly a stage has counted its items: what its present speed says about its next one."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from ingestion_progress.wire.forecast.history import ITEM_VARIANCE

PARTS = 4
# Fewer changes of the count show when it was written, not how fast the items were.
LEAST_POINTS = 2 * PARTS


def item_variance(counts: Sequence[tuple[float, int]]) -> float | None:
    """The variance of the logarithm of the time per item, for one item.

    `counts`: times and items that were counted until then, both in order. The items are divided
    into equal parts. The variance of a part is that of one item divided by the number of its items,
    so the differences of successive parts show that of one item. If there are few counts, each is a
    batch that shows as little as one item. None: nothing was counted.
    """
    points = _changes(counts)
    if len(points) < LEAST_POINTS:
        return ITEM_VARIANCE * (points[-1][1] - counts[0][1]) / len(points) if points else None
    (_, first), (_, last) = points[0], points[-1]
    times = [_time_at(points, first + (last - first) * part / PARTS) for part in range(PARTS + 1)]
    if any(before >= after for before, after in pairwise(times)):
        return None
    logs = [math.log(after - before) for before, after in pairwise(times)]
    squares = [(after - before) ** 2 for before, after in pairwise(logs)]
    return sum(squares) / len(squares) / 2 * (last - first) / PARTS


def _changes(counts: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """The first time of each count, but for the one before the first item."""
    first: dict[int, float] = {}
    for at, count in counts:
        first.setdefault(count, at)
    return [(at, count) for count, at in first.items()][1:]


def _time_at(points: Sequence[tuple[float, int]], items: float) -> float:
    """Between two counts, in a straight line."""
    index = max(1, bisect_left(points, items, key=lambda point: point[1]))
    (before, fewer), (after, more) = points[index - 1], points[index]
    return before + (after - before) * (items - fewer) / (more - fewer)
