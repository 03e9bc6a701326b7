"""How a synthetic job looks at any instant: pure functions of how much of its time is over.

A moment is a fraction of the job's time, 0 to 1. The counts of any moment fit together: no
stage takes more than its source has made, and what is in flight is what the workers hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from ingestion_progress.wire.percent import DEFAULT_WEIGHTS, overall_percent, stage_percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Side by side in one stream of chunks; any other stage waits for the one before.
STREAMED = frozenset({"chunking", "embedding", "extraction"})
# Of the stream's time: how much later each next stage starts and ends.
LATER_START, LATER_END = 0.1, 0.15
UNITS = {"parsing": "pages", "vlm": "images", **dict.fromkeys(STREAMED, "chunks")}
OTHER_WEIGHT = 10.0
# A chunk keeps a worker busy for about a second.
CHUNKS = (8, 2000)
PAGES = (3, 80)
IMAGES = (2, 24)


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    name: str
    unit: str
    weight: float
    total: int
    start: float
    end: float
    source: str = ""
    """The stage that hands over the items; empty: all of them are there from the start."""

    def is_running(self, moment: float) -> bool:
        return self.start <= moment < self.end

    def processed(self, moment: float) -> int:
        """Items done by then, one after another at an even pace."""
        if moment >= self.end:
            return self.total
        share = (moment - self.start) / (self.end - self.start)
        return max(0, math.floor(share * self.total))

    def item_percent(self, item: int, moment: float, *, width: int) -> float:
        """How far an item (from 0) is, 0 to 100, where `width` of them are done side by side."""
        step = (self.end - self.start) / self.total
        done_at = self.start + step * (item + 1)
        begun_at = max(self.start, done_at - step * width)
        return min(100.0, max(0.0, (moment - begun_at) / (done_at - begun_at) * 100))

    def item_name(self, item: int) -> str:
        return f"{self.unit.removesuffix('s')}-{item + 1}"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker holds."""

    chunk: str
    percent: float


@dataclass(frozen=True, kw_only=True)
class StageState:
    plan: PlannedStage
    is_complete: bool
    processed: int
    in_flight: int


@dataclass(frozen=True, kw_only=True)
class State:
    """The whole job at one moment."""

    stages: Sequence[StageState]
    """Those that have started, in their order."""
    workers: Mapping[int, Work]
    """The busy ones, by number."""
    queue_depth: int
    metrics: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    stages: Sequence[PlannedStage]
    workers: int

    @property
    def total_chunks(self) -> int:
        """What the stages of a chunk's way take; 0 where there is none."""
        return next((s.total for s in self.stages if s.unit not in {"pages", "images"}), 0)

    @property
    def total_images(self) -> int:
        return sum(stage.total for stage in self.stages if stage.unit == "images")

    def at(self, moment: float) -> State:
        pool = self._pool_stage(moment)
        begun = [stage for stage in self.stages if stage.start <= moment]
        items = self._held(pool, moment) if pool else range(0)
        waiting = self._available(pool, moment) - items.stop if pool else 0
        return State(
            stages=[self._stage_state(stage, moment, pool) for stage in begun],
            workers=dict(self._work(pool, items, moment)) if pool and self.workers else {},
            queue_depth=max(0, waiting),
            metrics=self._metrics(moment),
        )

    def percent_at(self, moment: float) -> float:
        """Overall, as a snapshot of that moment has it."""
        return overall_percent(
            (
                stage.weight,
                stage_percent(
                    processed=stage.processed(moment),
                    total=stage.total,
                    is_completed=moment >= stage.end,
                ),
            )
            for stage in self.stages
        )

    def moment_of(self, percent: float) -> float:
        """The first moment at which the job is that far."""
        low, high = 0.0, 1.0
        if self.percent_at(low) >= percent:
            return low
        while high - low > 1e-6:
            middle = (low + high) / 2
            if self.percent_at(middle) >= percent:
                high = middle
            else:
                low = middle
        return high

    def _pool_stage(self, moment: float) -> PlannedStage | None:
        """The pool works for the last of the stages that run: where documents spend their time."""
        running = [stage for stage in self.stages if stage.is_running(moment)]
        return running[-1] if running else None

    def _available(self, stage: PlannedStage, moment: float) -> int:
        """How many of the stage's items its source has made."""
        by_name = {planned.name: planned for planned in self.stages}
        return by_name[stage.source].processed(moment) if stage.source else stage.total

    def _held(self, stage: PlannedStage, moment: float, *, width: int | None = None) -> range:
        """The items that are being worked on."""
        done = stage.processed(moment)
        width = max(1, self.workers) if width is None else width
        return range(done, max(done, min(done + width, self._available(stage, moment))))

    def _stage_state(
        self, stage: PlannedStage, moment: float, pool: PlannedStage | None
    ) -> StageState:
        is_complete = not stage.is_running(moment)
        width = None if stage is pool else 1
        return StageState(
            plan=stage,
            is_complete=is_complete,
            processed=stage.processed(moment),
            in_flight=0 if is_complete else len(self._held(stage, moment, width=width)),
        )

    def _work(self, stage: PlannedStage, items: range, moment: float) -> Iterator[tuple[int, Work]]:
        for item in items:
            percent = stage.item_percent(item, moment, width=self.workers)
            yield 1 + item % self.workers, Work(chunk=stage.item_name(item), percent=percent)

    def _metrics(self, moment: float) -> dict[str, int]:
        by_name = {stage.name: stage for stage in self.stages}
        last = self.stages[-1]
        extracted = by_name.get("extraction", last).processed(moment)
        entities, relations = extracted * 7 // 2, extracted * 9 // 4
        return {
            "entities_total": entities,
            "relations_total": relations,
            "neo4j_writes": entities + relations,
            "qdrant_writes": by_name.get("embedding", last).processed(moment),
        }


def schedule_of(names: Sequence[str] | None, *, seconds: float, workers: int) -> Schedule:
    """A plan for these stages (None: the five of document ingestion) in their order."""
    names = list(DEFAULT_WEIGHTS) if names is None else names
    weights = {name: DEFAULT_WEIGHTS.get(name, OTHER_WEIGHT) for name in names}
    totals = {
        "pages": _within(seconds, PAGES),
        "images": _within(seconds / 3, IMAGES),
        "chunks": _within(seconds * max(1, workers) * 0.8, CHUNKS),
    }
    planned: list[PlannedStage] = []
    done = 0.0
    for is_streamed, group in groupby(names, key=lambda name: name in STREAMED):
        for together in [list(group)] if is_streamed else [[name] for name in group]:
            start = done / sum(weights.values())
            done += sum(weights[name] for name in together)
            end = done / sum(weights.values())
            planned += _side_by_side(together, weights, totals, start=start, end=end)
    return Schedule(stages=planned, workers=workers)


def _side_by_side(
    names: Sequence[str],
    weights: Mapping[str, float],
    totals: Mapping[str, int],
    *,
    start: float,
    end: float,
) -> Iterator[PlannedStage]:
    length = end - start
    last = len(names) - 1
    for index, name in enumerate(names):
        unit = UNITS.get(name, "items")
        yield PlannedStage(
            name=name,
            unit=unit,
            weight=weights[name],
            total=totals.get(unit, totals["chunks"]),
            start=start + length * LATER_START * index,
            end=end - length * LATER_END * (last - index),
            source=names[0] if index else "",
        )


def _within(number: float, limits: tuple[int, int]) -> int:
    return min(max(round(number), limits[0]), limits[1])
