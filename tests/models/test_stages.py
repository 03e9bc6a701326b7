from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.models.stages import overall_percent, shown_percent, stage_percent


def test_an_unknown_total_is_no_progress():
    assert stage_percent(processed=7, total=0, is_completed=False) == 0


def test_a_completed_stage_is_at_100_whatever_it_counted():
    assert stage_percent(processed=0, total=9, is_completed=True) == 100


@given(processed=st.integers(0, 2**53), total=st.integers(0, 2**53), done=st.booleans())
def test_a_stage_is_never_outside_0_to_100(processed, total, done):
    assert 0 <= stage_percent(processed=processed, total=total, is_completed=done) <= 100


def test_stages_count_by_their_weight_started_or_not():
    assert overall_percent([(10, 100), (30, 0)]) == 25


def test_nothing_planned_is_no_progress():
    assert overall_percent([]) == 0


@given(st.lists(st.tuples(st.floats(0.001, 1e6), st.floats(0, 100)), max_size=20))
def test_the_whole_is_never_outside_0_to_100(stages):
    assert 0 <= overall_percent(stages) <= 100


@pytest.mark.parametrize(
    ("percent", "shown"), [(99.99, 99.9), (100, 100), (0.06, 0), (33.35, 33.3)]
)
def test_percentages_are_rounded_down(percent, shown):
    assert shown_percent(percent) == shown


def shown_at(processed: int, total: int) -> float:
    return shown_percent(stage_percent(processed=processed, total=total, is_completed=False))


@pytest.mark.parametrize(
    ("processed", "total", "percent"),
    [(29, 100, 29), (57, 100, 57), (11, 250, 4.4), (15, 32, 46.8), (1, 3, 33.3), (999, 1000, 99.9)],
)
def test_a_stage_that_is_at_a_tenth_shows_it(processed, total, percent):
    assert shown_at(processed, total) == percent


@given(total=st.integers(1, 1000) | st.integers(1, 10**8), data=st.data())
def test_a_stage_shows_the_tenth_that_its_exact_quotient_has_reached(total, data):
    processed = data.draw(st.integers(0, total))
    assert shown_at(processed, total) == processed * 1000 // total / 10


@given(total=st.integers(1, 2**53 - 1))
def test_a_stage_reads_100_when_its_last_item_is_done_and_not_before(total):
    assert shown_at(total - 1, total) < 100 == shown_at(total, total)


@given(total=st.integers(1, 2**53 - 1), data=st.data())
def test_one_more_item_never_lowers_what_is_shown(total, data):
    processed = data.draw(st.integers(0, total - 1))
    assert shown_at(processed, total) <= shown_at(processed + 1, total)


def test_a_whole_that_is_at_a_tenth_shows_it():
    percents = [stage_percent(processed=n, total=7, is_completed=False) for n in (3, 6)]
    stages = list(zip((1, 3), percents, strict=True))
    assert overall_percent(stages) < 75 == shown_percent(overall_percent(stages))


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 99)), min_size=1, max_size=100))
def test_a_whole_shows_the_tenth_that_its_exact_mean_has_reached(stages):
    done = sum(weight * percent for weight, percent in stages)
    weights = sum(weight for weight, _ in stages)
    scaled = [(weight / 10, float(percent)) for weight, percent in stages]
    assert shown_percent(overall_percent(scaled)) == done * 10 // weights / 10
