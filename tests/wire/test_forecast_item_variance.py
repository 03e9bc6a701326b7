"""How unevenly a stage has counted."""

from __future__ import annotations

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.wire.forecast.item_variance import item_variance


def test_it_tells_an_even_stage_from_one_that_changes_its_speed_all_the_time():
    even = item_variance([(float(n), n) for n in range(101)])
    times = [0.0, *accumulate(5.0 if n // 25 % 2 else 1.0 for n in range(100))]
    uneven = item_variance([(at, n) for n, at in enumerate(times)])
    assert even < 0.01
    assert uneven > 10


def test_few_counts_are_batches():
    assert item_variance([(0.0, 0), (1.0, 1), (2.0, 33), (3.0, 64)]) > 5
    assert item_variance([(0.0, 0), (9.0, 1)]) == pytest.approx(0.5)
    assert item_variance([(0.0, 0), (9.0, 0)]) is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**6)), max_size=60))
def test_any_counts_have_one_or_none(counts):
    times, items = (sorted(column) for column in zip(*counts, strict=True)) if counts else ([], [])
    found = item_variance(list(zip(times, items, strict=True)))
    assert found is None or 0 <= found < math.inf
