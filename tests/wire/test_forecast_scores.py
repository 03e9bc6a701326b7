"""Errors of forecasts, and their table."""

from __future__ import annotations

import pytest

from ingestion_progress.wire.forecast.scores import Score, error_percent, summarise, table


def score(likely: float | None, *, true: float = 100.0, at: int = 50) -> Score:
    low, high = (None, None) if likely is None else (likely / 2, likely * 2)
    return Score.of([at, true, likely, low, high, true * 2])


@pytest.mark.parametrize(
    ("forecast", "error"), [(100, 0), (75, 25), (125, 25), (1e9, 100), (None, 100)]
)
def test_an_error_is_relative_and_counts_at_most_100_percent(forecast, error):
    assert error_percent(forecast, 100.0) == error


def test_a_summary_has_the_errors_of_both_formulas_and_how_often_the_range_held():
    summaries = summarise([score(100), score(80), score(10), score(None), score(90, at=25)])
    assert list(summaries) == [25, 50]
    half = summaries[50]
    assert (half.jobs, half.median_error, half.mean_error) == (4, 55, 52.5)
    assert (half.linear_median_error, half.linear_mean_error) == (100, 100)
    assert half.within_percent == 50


def test_a_time_that_had_passed_was_shown_as_unknown():
    late = Score.of([50, 1000, -5, -10, 20, None])
    assert (late.likely, late.low, late.high, late.linear) == (None, None, 20, None)


def test_the_table_has_a_column_for_each_time():
    text = table(summarise([score(100, at=25), score(80)]))
    assert "    25    50\n" in text
    assert "error, median %" in text
