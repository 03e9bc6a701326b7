"""What is left of a job without history."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.wire.forecast import StageCounts, by_weights, linear
from tests.wire.test_forecast import OVER, WAITS, running, seconds, stage_counts


class TestWithoutHistory:
    def test_a_stage_that_runs_goes_on_at_its_own_speed(self):
        """Although by its weight it should have taken much longer."""
        left = by_weights([OVER, running(50, 100, 5.0)], [1, 9], 25.0, 55.0)
        assert 5 <= left.likely < 15

    def test_a_stage_that_waits_takes_as_long_as_its_weight_says(self):
        left = by_weights([OVER, WAITS], [25, 75], 10.0, 25.0)
        assert left.likely == pytest.approx(30)
        resumed = by_weights([OVER, WAITS], [25, 75], 10.0, 25.0, 20.0)
        assert resumed.likely == pytest.approx(150)

    def test_stages_that_run_at_once_take_as_long_as_the_slowest(self):
        fast, slow = running(60, 100, 30.0), running(30, 100, 30.0)
        left = by_weights([fast, slow], [1, 1], 30.0, 45.0)
        assert left.likely == pytest.approx(70, rel=0.4)

    def test_a_skipped_stage_takes_no_time(self):
        skipped = StageCounts(is_over=True)
        assert by_weights([skipped, OVER, WAITS], [0, 1, 1], 10.0, 50.0).likely == pytest.approx(10)

    @given(
        st.lists(stage_counts, min_size=3, max_size=3),
        st.lists(st.floats(0, 1e6), min_size=3, max_size=3),
        seconds, st.floats(0, 100), st.floats(0, 100),
    )  # fmt: skip
    def test_any_counts_have_a_range_or_are_unknown(self, stages, weights, elapsed, percent, start):
        left = by_weights(stages, weights, elapsed, percent, start)
        assert left is None or 0 <= left.low <= left.likely <= left.high < math.inf


class TestLinear:
    def test_the_mean_speed_so_far_goes_on(self):
        assert linear(10.0, 25.0).likely == pytest.approx(30)

    def test_what_an_earlier_attempt_had_done_is_no_speed(self):
        assert linear(10.0, 75.0, start_percent=50.0).likely == pytest.approx(10)

    @pytest.mark.parametrize(("elapsed", "percent"), [(0.9, 50.0), (10.0, 0.9), (0.0, 0.0)])
    def test_nothing_is_known_shortly_after_the_start(self, elapsed, percent):
        assert linear(elapsed, percent) is None
