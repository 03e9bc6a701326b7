"""What is left of a job, from its counts and a history."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.wire.forecast import (
    History,
    Remaining,
    StageCounts,
    StageTime,
    learn,
    linear,
    remaining,
    time_percent,
)

seconds = st.floats(0, 1e7)
counts = st.integers(0, 2**53 - 1)
stage_times = st.builds(
    StageTime,
    items=counts,
    total=counts,
    seconds=seconds,
    overlap=st.floats(0, 1),
    has_grown=st.booleans(),
)
stage_counts = st.builds(
    StageCounts,
    processed=counts,
    total=counts,
    seconds=st.none() | seconds,
    item_ages=st.floats(0, 1e20) | st.floats(0, 1e-3),
    is_over=st.booleans(),
)
histories = st.lists(st.lists(stage_times, min_size=3, max_size=3), min_size=1, max_size=20).map(
    learn
)


def ran(seconds: float, items: int = 10, *, overlap: float = 0.0, grown: bool = False) -> StageTime:
    return StageTime(items=items, total=items, seconds=seconds, overlap=overlap, has_grown=grown)


def running(processed: int, total: int, seconds: float) -> StageCounts:
    """At a constant speed."""
    return StageCounts(processed, total, seconds, item_ages=processed * seconds / 2)


WAITS = StageCounts()
OVER = StageCounts(10, 10, 20.0, 100.0, is_over=True)


class TestAnything:
    @given(st.lists(stage_counts, min_size=3, max_size=3), histories)
    def test_the_range_holds_the_likely_value(self, stages, history):
        left = remaining(stages, history)
        if left is None:
            assert not all(stage.is_over for stage in stages)
            return
        assert 0 <= left.low <= left.likely <= left.high
        assert math.isfinite(left.high)

    def test_a_stage_that_hangs_after_its_first_item_has_a_range(self):
        """Whose item was counted a microsecond after its start."""
        history = learn([[StageTime(0, 0, 0.0, 0.0, has_grown=False)]])
        left = remaining([StageCounts(1, 100, 900.0, item_ages=1e-6)], history)
        assert left is not None
        assert math.isfinite(left.high)

    @given(st.lists(stage_counts, min_size=3, max_size=3), histories)
    def test_nothing_is_left_only_if_no_stage_waits_or_runs_without_known_items(
        self, stages, history
    ):
        left = remaining(stages, history)
        if left is not None and left.likely == 0:
            for stage, former in zip(stages, history.stages, strict=True):
                assert stage.is_over or (
                    stage.seconds is not None and (stage.total or former.items)
                )

    @given(histories)
    def test_a_history_is_stored_without_loss(self, history):
        assert History.from_json(json.loads(json.dumps(history.to_json()))) == history

    @given(st.floats(0, 100), seconds, seconds)
    def test_the_percentage_never_falls_and_is_100_only_at_the_end(self, reached, passed, left):
        percent = time_percent(reached, passed, left)
        assert reached <= percent <= 100


class TestHistory:
    def test_without_former_jobs_there_is_none(self):
        assert learn([]) == History.from_json({}) == History()
        assert remaining([WAITS], History()) is None

    def test_an_outlier_does_not_count(self):
        (stage,) = learn([[ran(10)], [ran(11)], [ran(9)], [ran(10)], [ran(9000)]]).stages
        assert math.exp(stage.log_seconds) == pytest.approx(1)

    def test_a_stage_that_never_ran_has_no_cost(self):
        never = StageTime(items=0, total=0, seconds=0.0, overlap=0.0, has_grown=False)
        assert learn([[never]]).stages[0].log_seconds is None

    def test_wrong_forecasts_widen_the_next_ranges_but_one_of_them_not_for_ever(self):
        assert learn([[ran(1)]], errors=[1.0]).spread == pytest.approx(1)
        assert 1 < learn([[ran(1)]], errors=[1e9]).spread < 1.5
        assert learn([[ran(1)]], errors=[0.0] * 8).spread < 0.8


class TestRemaining:
    def test_a_stage_that_has_not_started_takes_as_long_as_in_former_jobs(self):
        assert remaining([WAITS, WAITS], learn([[ran(20), ran(40)]])).likely == pytest.approx(60)

    def test_a_larger_document_takes_longer(self):
        history = learn([[ran(20), ran(40, items=100)]])
        whole = remaining([StageCounts(total=20), WAITS], history)
        assert whole.likely == pytest.approx(2 * 60)

    def test_the_size_of_a_document_is_judged_by_the_finest_total(self):
        history = learn([[ran(1, items=1), ran(20, items=20), ran(30, items=20)]])
        known = [StageCounts(1, 1, 1.0, 0.5, is_over=True), StageCounts(total=60), WAITS]
        assert remaining(known, history).likely == pytest.approx(3 * 50, rel=0.05)

    def test_a_stage_that_counts_the_document_takes_longer_for_a_larger_one(self):
        history = learn([[ran(10, items=1), ran(20, items=20)]])
        larger = [StageCounts(total=1), StageCounts(total=60)]
        assert remaining(larger, history).likely == pytest.approx(3 * 30)
        counted = [StageCounts(1, 1, 30.0, 15.0), StageCounts(total=60)]
        assert remaining(counted, history).likely < 3 * 30

    def test_stages_that_overlap_take_as_long_as_the_slowest(self):
        history = learn([[ran(20), ran(40, overlap=0.9), ran(10)]])
        assert remaining([WAITS] * 3, history).likely == pytest.approx(40 + 10)

    def test_what_a_stage_shows_replaces_what_was_known(self):
        history = learn([[ran(50, items=100)]] * 5)
        slow = remaining([running(50, 100, 50.0)], history)
        assert slow.likely == pytest.approx(50, rel=0.2)

    def test_a_slow_job_is_expected_to_be_slow_in_its_next_stages(self):
        history = learn([[ran(10), ran(100)]] * 5)
        slow = StageCounts(10, 10, 40.0, item_ages=200.0, is_over=True)
        usual = StageCounts(10, 10, 10.0, item_ages=50.0, is_over=True)
        assert remaining([usual, WAITS], history).likely == pytest.approx(100, rel=0.02)
        assert 130 < remaining([slow, WAITS], history).likely < 400

    def test_a_total_that_still_grows_is_not_believed(self):
        history = learn([[ran(10), ran(10, items=100, grown=True)]] * 3)
        found = StageCounts(processed=0, total=10, seconds=1.0)
        assert remaining([running(1, 10, 1.0), found], history).likely > 9
        ended = [StageCounts(10, 10, 10.0, 50.0, is_over=True), found]
        assert remaining(ended, history).likely < 2

    def test_an_even_job_never_takes_longer_than_it_was_said(self):
        history = learn([[ran(100, items=100), ran(50, items=50)]] * 5)
        ends = []
        for second in range(1, 100):
            left = remaining([running(second, 100, float(second)), WAITS], history)
            ends.append(second + left.likely)
        assert max(ends) - min(ends) < 2

    def test_a_stage_that_is_over_takes_no_time(self):
        assert remaining([OVER], learn([[ran(20)]])) == Remaining(0, 0, 0)

    def test_a_stage_that_never_ran_is_skipped_again_unless_it_starts_or_is_all_that_is_left(self):
        never = StageTime(items=0, total=0, seconds=0.0, overlap=0.0, has_grown=False)
        history = learn([[never, ran(20), never]] * 3)
        assert remaining([WAITS, WAITS, WAITS], history).likely == pytest.approx(20)
        started = StageCounts(total=50, seconds=3.0)
        assert remaining([started, WAITS, WAITS], history) is None
        assert remaining([running(10, 50, 5.0), WAITS, WAITS], history).likely > 20
        assert remaining([running(10, 0, 5.0), WAITS, WAITS], history) is None
        assert remaining([OVER, OVER, WAITS], history) is None
        assert remaining([OVER, OVER, OVER], history).likely == 0

    def test_a_longer_history_narrows_the_range(self):
        one, many = (remaining([WAITS], learn([[ran(10)]] * n)) for n in (1, 20))
        assert many.high - many.low < one.high - one.low


class TestLinear:
    def test_the_mean_speed_so_far_goes_on(self):
        assert linear(10.0, 25.0).likely == pytest.approx(30)

    def test_what_an_earlier_attempt_had_done_is_no_speed(self):
        assert linear(10.0, 75.0, start_percent=50.0).likely == pytest.approx(10)

    @pytest.mark.parametrize(("elapsed", "percent"), [(0.9, 50.0), (10.0, 0.9), (0.0, 0.0)])
    def test_nothing_is_known_shortly_after_the_start(self, elapsed, percent):
        assert linear(elapsed, percent) is None
