"""Chunks by page of a document: a chart, and the same as a table."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingestion_progress.web import charts, formatting

# With more pages each bar is several pages.
MAX_BARS = 60
# The gap on each side of a bar, as a share of its width.
GAP = 0.1


@dataclass(frozen=True, kw_only=True)
class PageChart:
    path: str
    """Bars as SVG, in a square of 100 by 100."""
    rows: Sequence[tuple[str, str]]
    """The pages of each bar, and its chunks."""
    peak: str
    last: str
    """The number of the last page."""


def page_chart(counts: Mapping[int, int], page_count: int = 0) -> PageChart | None:
    """`counts`: chunks by number of the page, from 1. None if that is one page, or none.

    `page_count`: how many pages the document has, if that is known.
    """
    last = max([page_count, *counts])
    if last < 2 or not counts:
        return None
    edges = bar_edges(last)
    values = [0] * (len(edges) - 1)
    for page, count in counts.items():
        values[bisect_left(edges, max(1, page)) - 1] += count
    highest = max(values)
    return PageChart(
        path=bars_path(values, highest),
        rows=[
            (_pages(start + 1, end), formatting.count(value))
            for (start, end), value in zip(pairwise(edges), values, strict=True)
        ],
        peak=formatting.peak(formatting.count(highest)),
        last=formatting.count(last),
    )


def bar_edges(pages: int) -> list[int]:
    """After which pages the bars begin and end: 0, …, `pages`."""
    bars = min(pages, MAX_BARS)
    return [bar * pages // bars for bar in range(bars + 1)]


def bars_path(values: Sequence[int], ceiling: int) -> str:
    width = 100 / len(values)
    return "".join(
        f"M{charts.number((place + GAP) * width)} 100V{charts.number(100 - 100 * value / ceiling)}"
        f"H{charts.number((place + 1 - GAP) * width)}V100Z"
        for place, value in enumerate(values)
        if value
    )


def _pages(first: int, last: int) -> str:
    if first == last:
        return formatting.count(first)
    return f"{formatting.count(first)}–{formatting.count(last)}"
