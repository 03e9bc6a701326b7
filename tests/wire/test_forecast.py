"""What is left of a job, from its counts and a history."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion_progress.wire.forecast import (
    History,
    Remaining,
    StageCounts,
    StageTime,
    learn,
    remaining,
    time_percent,
)
from ingestion_progress.wire.forecast.estimates import median_beyond

seconds = st.floats(0, 1e7)
counts = st.integers(0, 2**53 - 1)
stage_times = st.builds(
    StageTime,
    items=counts,
    total=counts,
    seconds=seconds,
    overlap=st.floats(0, 1),
    has_grown=st.booleans(),
    item_variance=st.none() | st.floats(0, 1e6),
    gap_seconds=seconds,
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

    def test_a_stage_that_hangs_after_its_first_item_shows_no_speed(self):
        """Whose item was counted a microsecond after its start."""
        history = learn([[StageTime(0, 0, 0.0, 0.0, has_grown=False)]])
        assert remaining([StageCounts(1, 100, 900.0, item_ages=1e-6)], history) is None

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

    @given(st.floats(0, 1e9), st.floats(1e-3, 10), st.just(0.0) | st.floats(1e-300, 1e9))
    def test_what_is_larger_than_expected_is_expected_to_become_larger_still(
        self, middle, variance, reached
    ):
        expected = median_beyond(middle, variance, reached)
        assert expected >= middle * (1 - 1e-9)
        assert expected > reached or reached == 0
        assert math.isfinite(expected)

    @given(histories)
    def test_a_history_is_stored_without_loss(self, history):
        assert History.from_json(json.loads(json.dumps(history.to_json()))) == history

    @example(reached=0.0, passed=0.0, left=0.0, elapsed=5e-324, start=0.0)
    @given(st.floats(0, 100), seconds, seconds, seconds, st.floats(0, 100))
    def test_the_percentage_never_falls(self, reached, passed, left, elapsed, start):
        percent = time_percent(reached, passed, left, elapsed=elapsed, start=start)
        assert reached <= percent <= 100

    @given(st.floats(0, 10), st.floats(0, 1e5), st.integers(2, 50))
    def test_a_bar_that_is_behind_catches_up_without_a_jump(self, reached, elapsed, steps):
        step, left = 1.0, 20.0 * steps
        target = 100 * elapsed / (elapsed + left)
        percent = time_percent(reached, step, left, elapsed=elapsed)
        if reached < target:
            assert reached < percent <= max(target, reached + 100 * step / left) + 1e-9
        assert time_percent(reached, 0.0, left, elapsed=elapsed) == reached


class TestHistory:
    def test_without_former_jobs_there_is_none(self):
        assert learn([]) == History.from_json({}) == History()
        assert remaining([WAITS], History()) is None

    def test_an_outlier_does_not_count(self):
        (stage,) = learn([[ran(10)], [ran(11)], [ran(9)], [ran(10)], [ran(9000)]]).stages
        assert math.exp(stage.log_seconds) == pytest.approx(1, rel=0.06)

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

    def test_a_running_stage_without_counts_does_not_hide_the_speed_of_those_beside_it(self):
        """It counts the whole document as one item, so it shows nothing until its end."""
        history = learn(
            [
                [ran(took, items=1), ran(took, items=round(2.5 * took), overlap=1.0)]
                for took in (4, 10, 40, 80, 200)
            ]
        )
        left = remaining([StageCounts(0, 1, 20.0), running(80, 100, 20.0)], history)
        assert left.likely == pytest.approx(5, rel=0.4)

    def test_a_stage_that_is_far_slower_than_those_beside_it_counts(self):
        history = learn([[ran(400, items=1), ran(40, items=100, overlap=1.0)]] * 5)
        left = remaining([StageCounts(0, 1, 20.0), running(50, 100, 20.0)], history)
        assert left.likely > 200

    def test_the_first_count_of_a_stage_that_counts_batches_is_no_speed(self):
        batches = replace(ran(10, items=100), item_variance=25.0)  # of some 50
        history = learn([[batches]] * 20)
        left = remaining([StageCounts(1, 100, 4.0, item_ages=0.5)], history)
        assert left.likely == pytest.approx(6, rel=0.3)

    def test_an_uneven_stage_is_expected_to_return_to_its_usual_speed(self):
        even, uneven = (
            learn([[replace(ran(100, items=100), item_variance=found)]] * 20)
            for found in (0.01, 10.0)
        )
        slow = running(20, 100, 40.0)
        assert remaining([slow], even).likely > 140
        assert remaining([slow], uneven).likely < 120

    def test_more_items_than_usual_are_expected_to_be_followed_by_some(self):
        """As long as the total is unknown."""
        history = learn([[ran(10, items=100)]] * 5)
        ends = [remaining([running(n, 0, n / 10)], history).likely for n in (50, 100, 200, 1000)]
        assert ends[0] > 5
        assert min(ends[1:]) > 1

    def test_gaps_between_and_after_stages_are_part_of_the_time(self):
        first, last = replace(ran(10), gap_seconds=4.0), replace(ran(20), gap_seconds=2.0)
        history = learn([[first, last]] * 3)
        assert remaining([WAITS, WAITS], history).likely == pytest.approx(36)
        usual = StageCounts(10, 10, 10.0, 50.0, is_over=True)
        assert remaining([usual, WAITS], history).likely == pytest.approx(4 + 20 + 2, rel=0.1)
        assert remaining([usual, StageCounts(10, 10, 20.0, 100.0)], history).likely == 2
        assert remaining([usual, OVER], history).likely == 2

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
