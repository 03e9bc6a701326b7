"""The benchmark of forecasts: its generated jobs are as hard as it says, and its targets hold."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from benchmarks.traces import Pipeline, Replay, Trace, replays
from ingestion_progress.wire.forecast.scores import summarise

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def found() -> list[Replay]:
    return list(replays([5], pipelines=30))


def test_counts_of_a_trace_never_fall_and_its_stages_end():
    chance = random.Random(1)
    for _ in range(20):
        trace = Trace(Pipeline.drawn(chance), chance)
        for before, after in pairwise(trace.moments):
            assert before.at < after.at
            assert all(a <= b for a, b in zip(before.processed, after.processed, strict=True))
        assert list(trace.moments[-1].processed) == trace.items
        assert None not in trace.moments[-1].ended_at


def test_with_five_former_jobs_the_error_is_far_below_that_of_the_linear_formula(found):
    summaries = summarise(score for replay in found for score in replay.scores)
    quarter, half = summaries[25], summaries[50]
    assert quarter.median_error <= 0.6 * quarter.linear_median_error
    assert quarter.mean_error <= 0.65 * quarter.linear_mean_error
    assert half.median_error <= 0.35 * half.linear_median_error
    assert half.mean_error <= 0.55 * half.linear_mean_error


def test_the_range_holds_about_80_percent_of_the_ends(found):
    summaries = summarise(score for replay in found for score in replay.scores).values()
    assert all(70 <= summary.within_percent <= 90 for summary in summaries)


def test_the_bar_is_far_closer_to_a_straight_line_than_by_weights(found):
    ours = median(replay.bar_distance for replay in found)
    assert ours <= 0.5 * median(replay.weighted_bar_distance for replay in found)


def test_documents_are_uneven_and_the_same_each_time(tmp_path: Path):
    forecast = pytest.importorskip("benchmarks.forecast")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        forecast.write_documents(tmp_path / name, 12)
    texts = {path.name: path.read_text() for path in (tmp_path / "a").iterdir()}
    assert texts == {path.name: path.read_text() for path in (tmp_path / "b").iterdir()}
    sizes = [len(text) for text in texts.values()]
    assert max(sizes) > 3 * min(sizes)
