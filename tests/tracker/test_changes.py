"""How changes in memory merge, and what they are when they are written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.models.statuses import EventLevel, StageStatus, WorkerStatus
from ingestion_progress.tracker.changes import (
    MAX_PENDING_EVENTS,
    Counter,
    EventEntry,
    JobChanges,
    KeyChanges,
    StageChanges,
    ThreadCounts,
    WorkerChange,
)
from ingestion_progress.tracker.error_groups import error_group
from ingestion_progress.tracker.keys import KeySet

steps = st.lists(st.tuples(st.sampled_from(["add", "set"]), st.integers(0, 1000)), max_size=12)


def counted(steps) -> Counter:
    counter = Counter()
    for kind, n in steps:
        if kind == "add":
            counter.delta += n
        else:
            counter.set(n)
    return counter


@given(before=steps, after=steps, start=st.integers(0, 1000))
def test_unwritten_changes_merge_with_later_ones(before, after, start):
    merged = counted(before)
    merged.follow(counted(after))
    assert merged.applied_to(start) == counted(before + after).applied_to(start)


def test_a_count_never_falls_below_zero():
    counter = Counter()
    counter.delta = -5
    assert counter.applied_to(3) == 0


def test_a_stage_keeps_its_first_start_and_its_last_status():
    first, second = StageChanges(), StageChanges()
    first.started_at = datetime(2026, 1, 1, tzinfo=UTC)
    first.status = StageStatus.IN_PROGRESS
    second.started_at = datetime(2026, 1, 2, tzinfo=UTC)
    second.status = StageStatus.COMPLETED
    first.follow(second)
    assert first.started_at.day == 1
    assert first.status is StageStatus.COMPLETED


def test_a_stage_that_failed_and_ended_again_has_its_last_end():
    first, second = StageChanges(), StageChanges()
    first.status, first.finished_at = StageStatus.ERROR, datetime(2026, 1, 1, tzinfo=UTC)
    first.was_interrupted = True
    second.status, second.finished_at = StageStatus.COMPLETED, datetime(2026, 1, 2, tzinfo=UTC)
    first.follow(second)
    assert (first.status, first.finished_at.day) == (StageStatus.COMPLETED, 2)
    assert not first.was_interrupted


def test_later_changes_that_say_nothing_of_a_stage_keep_what_is_unwritten():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    changes = StageChanges()
    changes.status, changes.started_at, changes.finished_at = StageStatus.IN_PROGRESS, at, at
    changes.total_is_estimate = True
    changes.counters["processed"].delta = 2
    changes.keys.add("a", has_failed=False)
    changes.follow(StageChanges())
    assert changes.status is StageStatus.IN_PROGRESS
    assert (changes.started_at, changes.finished_at, changes.total_is_estimate) == (at, at, True)
    assert changes.counters["processed"].delta == 2
    assert "a" in changes.keys.done


def test_an_unwritten_log_is_bounded_and_counts_what_it_drops():
    changes = JobChanges()
    entry = EventEntry(at=datetime(2026, 1, 1, tzinfo=UTC), level=EventLevel.INFO, message="m")
    for _ in range(MAX_PENDING_EVENTS + 3):
        changes.add_event(entry)
    assert len(changes.events) == MAX_PENDING_EVENTS
    assert changes.dropped_events == 3


def test_nothing_to_write_is_false():
    assert not JobChanges()


@pytest.mark.parametrize(
    "change",
    [
        lambda changes: changes.counters["queue_depth"].set(0),
        lambda changes: changes.own_counters["tables"].set(0),
        lambda changes: changes.stages["one"],
        lambda changes: changes.workers.update({1: WorkerChange(status=WorkerStatus.IDLE)}),
        lambda changes: changes.add_event(
            EventEntry(at=datetime(2026, 1, 1, tzinfo=UTC), level=EventLevel.INFO, message="m")
        ),
        lambda changes: changes.errors.add(
            error_group("No text.", at=datetime(2026, 1, 1, tzinfo=UTC))
        ),
        lambda changes: setattr(changes, "waiting_for", ""),
    ],
    ids=["counters", "own_counters", "stages", "workers", "events", "errors", "waiting_for"],
)
def test_one_change_of_any_kind_is_something_to_write(change):
    changes = JobChanges()
    change(changes)
    assert changes


def test_keys_that_are_only_counted_are_something_to_write():
    assert not KeyChanges()
    assert KeyChanges(forgotten=1)
    assert KeyChanges(failed={"a"})
    assert KeyChanges(done=KeySet(texts=["a"]))


def test_counts_of_threads_are_taken_once_also_those_of_threads_that_have_ended():
    counts = ThreadCounts()
    counts[1] += 2
    counts[2] += 3
    assert counts.take() == 5
    counts[1] += 1  # a later thread may have the id of one that has ended
    assert counts.take() == 1
    assert counts.take() == 0
