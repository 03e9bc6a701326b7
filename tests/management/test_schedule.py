from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion_progress.management.schedule import Schedule, schedule_of
from ingestion_progress.wire.percent import DEFAULT_WEIGHTS

NAMES = st.lists(
    st.sampled_from([*DEFAULT_WEIGHTS, "a", "b", "ocr", "summary"]), min_size=1, unique=True
)
SCHEDULES = st.builds(
    schedule_of,
    st.none() | NAMES,
    seconds=st.floats(0.1, 1000),
    workers=st.integers(0, 40),
)
MOMENTS = st.floats(0, 1)


@settings(deadline=None)
@given(SCHEDULES, MOMENTS)
def test_counts_of_every_moment_fit_together(schedule: Schedule, moment: float) -> None:
    state = schedule.at(moment)
    done = {shown.plan.name: shown.processed for shown in state.stages}
    for shown in state.stages:
        made = done[shown.plan.source] if shown.plan.source else shown.plan.total
        assert 0 <= shown.processed <= shown.processed + shown.in_flight <= made
        assert shown.is_complete is (moment >= shown.plan.end)
    assert state.queue_depth >= 0
    assert len(state.workers) <= schedule.workers
    if schedule.workers and moment < 1:
        assert len(state.workers) == state.stages[-1].in_flight
    assert all(1 <= number <= schedule.workers for number in state.workers)
    assert all(0 <= work.percent <= 100 for work in state.workers.values())
    metrics = state.metrics
    assert metrics["neo4j_writes"] == metrics["entities_total"] + metrics["relations_total"]


@settings(deadline=None)
@given(SCHEDULES, MOMENTS, MOMENTS)
def test_nothing_ever_falls(schedule: Schedule, one: float, other: float) -> None:
    earlier, later = sorted([one, other])
    before, after = schedule.at(earlier), schedule.at(later)
    for old, new in zip(before.stages, after.stages, strict=False):
        assert old.processed <= new.processed
    assert all(before.metrics[name] <= after.metrics[name] for name in before.metrics)
    assert schedule.percent_at(earlier) <= schedule.percent_at(later) + 1e-9


@settings(deadline=None)
@given(SCHEDULES)
def test_everything_is_done_at_the_end(schedule: Schedule) -> None:
    state = schedule.at(1.0)
    assert len(state.stages) == len(schedule.stages)
    assert all(shown.is_complete and shown.processed == shown.plan.total for shown in state.stages)
    assert not state.workers
    assert state.queue_depth == 0


@settings(deadline=None)
@given(SCHEDULES, st.floats(0, 100))
def test_moment_of_a_percentage_is_the_first_that_reaches_it(schedule, percent: float) -> None:
    moment = schedule.moment_of(percent)
    assert schedule.percent_at(moment) >= percent - 1e-6
    assert moment == 0 or schedule.percent_at(moment - 2e-6) < percent


def test_chunks_stream_through_embedding_and_extraction_while_chunking_runs() -> None:
    schedule = schedule_of(None, seconds=30, workers=4)
    running = {
        moment: [shown.plan.name for shown in schedule.at(moment).stages if not shown.is_complete]
        for moment in (0.05, 0.15, 0.5, 0.99)
    }
    assert running == {
        0.05: ["parsing"],
        0.15: ["vlm"],
        0.5: ["chunking", "embedding", "extraction"],
        0.99: ["extraction"],
    }
    assert schedule.at(0.7).queue_depth > 0


@pytest.mark.parametrize("seconds", [2, 30, 600])
def test_overall_percentage_keeps_pace_with_the_time(seconds: float) -> None:
    schedule = schedule_of(None, seconds=seconds, workers=4)
    for moment in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert schedule.percent_at(moment) == pytest.approx(moment * 100, abs=15)


def test_worker_stays_on_its_chunk_until_it_is_done() -> None:
    schedule = schedule_of(["extraction"], seconds=10, workers=3)
    chunks = [schedule.at(step / 1000).workers[2].chunk for step in range(900)]
    seen = list(dict.fromkeys(chunks))
    assert seen == [f"chunk-{2 + 3 * turn}" for turn in range(len(seen))]
    assert len(seen) > 3
