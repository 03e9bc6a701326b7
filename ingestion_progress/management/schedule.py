"""The plan of a synthetic job: when each stage runs, and how many items it has processed.

A moment is a fraction of the job's time, 0 to 1. Each stage processes items at a constant rate.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

from ingestion_progress.models.stages import overall_percent, stage_percent
from ingestion_progress.wire.schemas import DEFAULT_WEIGHTS

# These stages run concurrently; any other stage waits for the one before it.
STREAMED = frozenset({"chunking", "embedding", "extraction"})
# How much later each next one of them starts and ends, as shares of their time.
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
    source: Self | None = None
    """The stage that produces its items; None: all items exist from the start."""

    @property
    def unit(self) -> str:
        return UNITS.get(self.name, "items")

    def is_running(self, moment: float) -> bool:
        return self.start <= moment < self.end

    def position(self, moment: float) -> float:
        """The items processed by then, with the fraction of the next one."""
        share = (moment - self.start) / (self.end - self.start)
        return self.total * (1.0 if moment >= self.end else max(0.0, share))

    def processed(self, moment: float) -> int:
        return math.floor(self.position(moment))

    def percent(self, moment: float) -> float:
        return stage_percent(
            processed=self.processed(moment), total=self.total, is_completed=moment >= self.end
        )

    def items_in_flight(self, moment: float, width: int) -> range:
        """The items (counted from 0) that `width` workers are processing."""
        done = self.processed(moment)
        width = width if self.is_running(moment) else 0
        return range(done, max(done, min(done + width, self.items_available(moment))))

    def items_available(self, moment: float) -> int:
        """Items that exist by then."""
        return self.total if self.source is None else self.source.processed(moment)

    def item_percent(self, item: int, moment: float, width: int) -> float:
        """Progress of an item, 0 to 100, if `width` items are processed at a time."""
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
        end, source = done / whole, None
        for index, name in enumerate(together):
            stage = PlannedStage(
                name=name,
                weight=weights[name],
                total={"parsing": pages, "vlm": images}.get(name, chunks),
                start=start + (end - start) * LATER_START * index,
                end=end - (end - start) * LATER_END * (len(together) - 1 - index),
                source=source,
            )
            stages.append(stage)
            source = source or stage
    return stages


def percent_at(stages: Iterable[PlannedStage], moment: float) -> float:
    """The overall percentage."""
    return overall_percent((stage.weight, stage.percent(moment)) for stage in stages)
