"""Sets of keys: integers as ranges, text, and their limits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.tracker import keys
from ingestion_progress.tracker.keys import KeyCounts, KeySet, stored_key

some_keys = st.lists(st.integers(-30, 30) | st.sampled_from("abc"), max_size=40)


def set_of(some) -> KeySet:
    result = KeySet()
    for key in some:
        result.add(key)
    return result


@given(some_keys)
def test_it_holds_what_a_plain_set_holds(some):
    plain, ours = set(), KeySet()
    for key in some:
        assert ours.add(key) == KeyCounts(int(key not in plain))
        plain.add(key)
    assert len(ours) == len(plain)
    assert bool(ours) is bool(plain)
    assert all((key in ours) is (key in plain) for key in [*range(-31, 32), *"abcd"])


@given(some_keys)
def test_its_ranges_are_sorted_and_do_not_touch(some):
    ranges = set_of(some).ranges
    assert all(first <= last for first, last in ranges)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(ranges))


@given(some_keys, some_keys)
def test_an_update_adds_every_key_once(some, others):
    ours = set_of(some)
    added = ours.update(set_of(others))
    both = set_of(some + others)
    assert added == KeyCounts(len(both) - len(set_of(some)))
    assert (ours.ranges, set(ours.texts)) == (both.ranges, set(both.texts))


@given(some_keys, some_keys)
def test_a_copy_lacks_what_is_left_out_and_the_set_keeps_it(some, others):
    ours = set_of(some)
    left = ours.without(others)
    expected = set_of([key for key in some if key not in others])
    assert (left.ranges, set(left.texts)) == (expected.ranges, set(expected.texts))
    assert ours.ranges == set_of(some).ranges


def test_it_is_the_same_after_it_was_stored():
    ours = set_of([1, 2, 3, 7, "a"])
    assert (ours.ranges, ours.texts) == ([[1, 3], [7, 7]], ["a"])
    assert 3 in KeySet(ours.ranges, ours.texts)


def test_keys_beyond_the_limits_are_new_and_forgotten(monkeypatch):
    monkeypatch.setattr(keys, "MAX_TEXT_KEYS", 2)
    monkeypatch.setattr(keys, "MAX_KEY_RANGES", 2)
    ours = set_of(["a", "b", 1, 5])
    assert ours.add("c") == ours.add(9) == KeyCounts(1, 1)
    assert ours.add("a") == KeyCounts()
    assert ours.add(4) == KeyCounts(1)  # grows a range
    assert ours.update(KeySet([[8, 10]], ["d"])) == KeyCounts(4, 4)
    assert (ours.ranges, ours.texts) == ([[1, 1], [4, 5]], ["a", "b"])


@pytest.mark.parametrize("text", ["x" * 201, "nul\0", "lone \udcff surrogate", "two\nlines"])
def test_text_that_a_database_may_refuse_is_stored_as_its_hash(text):
    stored = stored_key(text)
    assert stored.startswith("sha256:")
    assert stored != stored_key(text + "x")
    assert stored_key(text) == stored


@pytest.mark.parametrize("key", [0, -3, 2**70, "", "page 3", "ü"])
def test_other_keys_are_stored_unchanged(key):
    assert stored_key(key) == key


@pytest.mark.parametrize("key", [True, 1.5, None, ("a", 1), b"a"])
def test_a_key_is_an_integer_or_text(key):
    with pytest.raises(TypeError, match="must be an integer or text"):
        stored_key(key)
