"""The plan of a synthetic job: when each stage runs, and how many items it has done by then.

A moment is a fraction of the job's time, 0 to 1. Each stage does its items at an even pace.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ingestion_progress.wire.percent import DEFAULT_WEIGHTS, overall_percent, stage_percent

# These stages run side by side; any other waits for the one before.
STREAMED = frozenset({"chunking", "embedding", "extraction"})
# As a share of their time: how much later each next one starts and ends.
LATER_START, LATER_END = 0.1, 0.15
UNITS = {"parsing": "pages", "vlm": "images", **dict.fromkeys(STREAMED, "chunks")}
OTHER_WEIGHT = 10.0


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    name: str
    weight: float
    total: int
    start: float
    end: float
    source: PlannedStage | None = None
    """The stage that makes its items; None: all of them are there from the start."""

    @property
    def unit(self) -> str:
        return UNITS.get(self.name, "items")

    def is_running(self, moment: float) -> bool:
        return self.start <= moment < self.end

    def position(self, moment: float) -> float:
        """Items done by then, with the fraction of the next one."""
        share = (moment - self.start) / (self.end - self.start)
        return self.total * (1.0 if moment >= self.end else max(0.0, share))

    def processed(self, moment: float) -> int:
        return math.floor(self.position(moment))

    def percent(self, moment: float) -> float:
        return stage_percent(
            processed=self.processed(moment), total=self.total, is_completed=moment >= self.end
        )

    def held(self, moment: float, width: int) -> range:
        """The items, from 0, that `width` workers work on."""
        done = self.processed(moment)
        width = width if self.is_running(moment) else 0
        return range(done, max(done, min(done + width, self.made(moment))))

    def made(self, moment: float) -> int:
        """Items that exist by then."""
        return self.total if self.source is None else self.source.processed(moment)

    def item_percent(self, item: int, moment: float, width: int) -> float:
        """How far an item is, 0 to 100, while `width` items are worked on."""
        begun_at = max(0, item + 1 - width)
        percent = (self.position(moment) - begun_at) / (item + 1 - begun_at) * 100
        return min(100.0, max(0.0, percent))


def stages_of(
    names: Iterable[str] | None, *, seconds: float, workers: int
) -> Sequence[PlannedStage]:
    """The stages of these names in their order; None: the five of document ingestion."""
    weights = {name: DEFAULT_WEIGHTS.get(name, OTHER_WEIGHT) for name in names or DEFAULT_WEIGHTS}
    whole = sum(weights.values())
    # A chunk takes a worker about a second.
    chunks = min(max(8, round(seconds * max(1, workers) * 0.8)), 2000)
    pages, images = min(max(3, round(seconds)), 80), min(max(2, round(seconds / 3)), 24)
    stages: list[PlannedStage] = []
    done = 0.0
    for _, group in groupby(weights, key=lambda name: name in STREAMED or name):
        together, start = list(group), done / whole
        done += sum(weights[name] for name in together)
        end, last = done / whole, len(together) - 1
        stages += [
            PlannedStage(
                name=name,
                weight=weights[name],
                total={"parsing": pages, "vlm": images}.get(name, chunks),
                start=start + (end - start) * LATER_START * index,
                end=end - (end - start) * LATER_END * (last - index),
            )
            for index, name in enumerate(together)
        ]
        first = len(stages) - len(together)
        stages[first + 1 :] = [replace(each, source=stages[first]) for each in stages[first + 1 :]]
    return stages


def percent_at(stages: Iterable[PlannedStage], moment: float) -> float:
    """The overall percentage."""
    return overall_percent((stage.weight, stage.percent(moment)) for stage in stages)
