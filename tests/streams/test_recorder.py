"""What a recording lets pass, and what not."""

from __future__ import annotations

import pytest

from tests.streams import (
    test_recorded_answers,
    test_recorded_attempts,
    test_recorded_many_jobs,
    test_recorded_resuming,
    test_recorded_streams,
)
from tests.support.recorder import FOLDER, normalised

MODULES = (
    test_recorded_answers,
    test_recorded_attempts,
    test_recorded_resuming,
    test_recorded_streams,
    test_recorded_many_jobs,
)
VARIES = [
    ("id: 0123456789ab-3-1767323106789", "id: EPOCH1-3-TIME"),
    ("id: 1767323106789", "id: TIME"),
    ("> Last-Event-Id: 1767323106789", "> Last-Event-Id: TIME"),
    ("id: idle-0123456789abcdef01234567", "id: idle-DIGEST"),
    (
        '{"started_at":1767323045.678,"elapsed_ms":61111,"estimated_remaining_ms":5}',
        '{"started_at":TIME,"elapsed_ms":MS,"estimated_remaining_ms":MS}',
    ),
    ('"duration_ms":61111', '"duration_ms":MS'),
    ("retry: 1234", "retry: 1000 to 5000"),
]
STAYS = [
    "id: 0123456789ab-3",
    "id:1767323106789",
    "id: idle-0123",
    '{"started_at":0.0,"elapsed_ms":0,"estimated_remaining_ms":0}',
    '{"started_at": 1767323045.678, "elapsed_ms": 61111, "estimated_remaining_ms": 5}',
    '"duration_ms":0',
    '"duration_ms":-5',
    "retry:1234",
    "data: retry: 1234",
]


@pytest.mark.parametrize(("seen", "kept"), VARIES)
def test_what_varies_is_replaced(seen, kept):
    assert normalised(seen, []) == kept


@pytest.mark.parametrize("seen", STAYS)
def test_all_else_stays(seen):
    assert normalised(seen, []) == seen


def test_another_attempt_has_another_name():
    text = "0123456789ab-1-1767323106789 ffffffffffff-1-1767323106789 0123456789ab-2-1767323106789"

    assert normalised(text, []) == "EPOCH1-1-TIME EPOCH2-1-TIME EPOCH1-2-TIME"


def test_wait_has_to_lie_within_its_bounds():
    assert normalised("retry: 1000\nretry: 45000", [(1000, 5000), (45_000, 75_000)])
    with pytest.raises(AssertionError, match="not within 200 to 1000"):
        normalised("retry: 1001", [(200, 1000)])


def test_each_recording_is_compared_by_a_test():
    tests = {name for module in MODULES for name in vars(module) if name.startswith("test_")}
    recorded = {f"test_{file.stem.split('-')[0]}" for file in FOLDER.iterdir()}

    assert recorded
    assert recorded <= tests
