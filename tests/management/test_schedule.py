from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion_progress.management.schedule import PlannedStage, percent_at, stages_of
from ingestion_progress.management.simulation import metrics_at
from ingestion_progress.wire.schemas import DEFAULT_WEIGHTS

Stages = Sequence[PlannedStage]

NAMES = st.lists(
    st.sampled_from([*DEFAULT_WEIGHTS, "a", "b", "ocr", "summary"]), min_size=1, unique=True
)
STAGES = st.builds(
    stages_of, st.none() | NAMES, seconds=st.floats(0.1, 1000), workers=st.integers(0, 40)
)
MOMENTS = st.floats(0, 1)


@settings(deadline=None)
@given(STAGES, MOMENTS, st.integers(1, 40))
def test_counts_of_every_moment_fit_together(stages: Stages, moment: float, width: int) -> None:
    for stage in stages:
        held = stage.items_in_flight(moment, width)
        assert 0 <= held.start == stage.processed(moment) <= held.stop
        if stage.start <= moment:
            assert held.stop <= stage.items_available(moment) <= stage.total
        assert len(held) <= (width if stage.is_running(moment) else 0)
        assert all(0 <= stage.item_percent(item, moment, width) <= 100 for item in held)
    metrics = metrics_at(stages, moment)
    assert metrics["neo4j_writes"] == metrics["entities_total"] + metrics["relations_total"]


@settings(deadline=None)
@given(STAGES, MOMENTS, MOMENTS)
def test_nothing_ever_falls(stages: Stages, one: float, other: float) -> None:
    earlier, later = sorted([one, other])
    assert all(stage.processed(earlier) <= stage.processed(later) for stage in stages)
    before, after = metrics_at(stages, earlier), metrics_at(stages, later)
    assert all(before[name] <= after[name] for name in before)
    assert percent_at(stages, earlier) <= percent_at(stages, later) + 1e-9


@settings(deadline=None)
@given(STAGES)
def test_everything_is_done_at_the_end(stages: Stages) -> None:
    for stage in stages:
        assert 0 <= stage.start < stage.end <= 1
        assert stage.processed(1.0) == stage.total
        assert not stage.items_in_flight(1.0, 4)
    assert percent_at(stages, 1.0) == 100


def test_chunks_stream_through_embedding_and_extraction_while_chunking_runs() -> None:
    stages = stages_of(None, seconds=30, workers=4)
    running = {
        moment: [stage.name for stage in stages if stage.is_running(moment)]
        for moment in (0.05, 0.15, 0.5, 0.99)
    }
    assert running == {
        0.05: ["parsing"],
        0.15: ["vlm"],
        0.5: ["chunking", "embedding", "extraction"],
        0.99: ["extraction"],
    }
    extraction = stages[-1]
    assert extraction.items_available(0.7) > extraction.items_in_flight(0.7, 4).stop


@pytest.mark.parametrize("seconds", [2, 30, 600])
def test_overall_percentage_keeps_pace_with_the_time(seconds: float) -> None:
    stages = stages_of(None, seconds=seconds, workers=4)
    for moment in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert percent_at(stages, moment) == pytest.approx(moment * 100, abs=15)


def test_items_are_held_one_after_another() -> None:
    (stage,) = stages_of(["extraction"], seconds=10, workers=3)
    held = [stage.items_in_flight(step / 1000, 3) for step in range(1000)]
    seen = list(dict.fromkeys(item for items in held for item in items))
    assert seen == list(range(stage.total))
    assert all(len(items) == min(3, stage.total - items.start) for items in held)
    assert math.floor(stage.item_percent(5, stage.start, 3)) == 0
