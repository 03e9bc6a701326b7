"""Changes that could not be written, merged with the later ones that wait in the buffer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NoReturn, cast

import pytest

from ingestion_progress.exceptions import InvalidTransition
from ingestion_progress.models.statuses import EventLevel, StageStatus, WorkerStatus
from ingestion_progress.tracker.buffer import Buffer, Writer
from ingestion_progress.tracker.changes import (
    MAX_PENDING_EVENTS,
    EventEntry,
    JobChanges,
    WorkerChange,
)
from ingestion_progress.tracker.plan import Attempt
from ingestion_progress.tracker.writer import background_writer

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def buffer() -> Buffer:
    attempt = Attempt(job_id="job", epoch="e", document_id="d", stage_names=("one", "two"))
    return Buffer(attempt, background_writer)


def put_back(
    buffer: Buffer, before: Callable[[JobChanges], None], after: Callable[[JobChanges], None]
) -> JobChanges:
    """What is pending when a write of `before` fails and `after` has happened meanwhile."""
    before(buffer.changes)
    taken = buffer.take()
    after(buffer.changes)
    buffer.put_back(taken)
    return buffer.take()


def test_later_absolute_count_replaces_the_one_that_was_put_back(buffer):
    def count(changes: JobChanges, n: int) -> None:
        changes.counters["entities_total"].set(n)
        changes.own_counters["tables"].set(n)
        changes.stages["one"].counters["processed"].set(n)

    merged = put_back(buffer, lambda changes: count(changes, 5), lambda changes: count(changes, 3))
    assert merged.counters["entities_total"].base == 3
    assert merged.own_counters["tables"].base == 3
    assert merged.stages["one"].counters["processed"].base == 3


def test_later_sum_is_added_to_the_absolute_count_that_was_put_back(buffer):
    def set_counts(changes: JobChanges) -> None:
        for counters in (changes.counters, changes.own_counters, changes.stages["one"].counters):
            counters["n"].set(5)

    def add(changes: JobChanges) -> None:
        for counters in (changes.counters, changes.own_counters, changes.stages["one"].counters):
            counters["n"].delta += 2

    merged = put_back(buffer, set_counts, add)
    for counters in (merged.counters, merged.own_counters, merged.stages["one"].counters):
        assert counters["n"].applied_to(100) == 7


def test_later_status_of_a_stage_replaces_the_one_that_was_put_back(buffer):
    def start(changes: JobChanges) -> None:
        changes.stages["one"].status = StageStatus.IN_PROGRESS
        changes.stages["one"].started_at = NOON
        changes.stages["two"].status = StageStatus.COMPLETED
        changes.stages["two"].finished_at = NOON

    def complete(changes: JobChanges) -> None:
        changes.stages["one"].status = StageStatus.COMPLETED
        changes.stages["one"].started_at = NOON + timedelta(hours=1)
        changes.stages["one"].finished_at = NOON + timedelta(hours=2)
        changes.stages["two"].counters["failed"].delta += 1

    merged = put_back(buffer, start, complete)
    one, two = merged.stages["one"], merged.stages["two"]
    assert (one.status, two.status) == (StageStatus.COMPLETED, StageStatus.COMPLETED)
    assert (one.started_at, one.finished_at) == (NOON, NOON + timedelta(hours=2))
    assert (two.started_at, two.finished_at) == (None, NOON)


@pytest.mark.parametrize(
    ("before", "after", "merged"),
    [("pages", "", "pages"), ("", "chunks", "chunks"), ("pages", "chunks", "chunks")],
)
def test_last_unit_of_a_stage_is_kept(buffer, before, after, merged):
    def describe(changes: JobChanges, unit: str) -> None:
        changes.stages["one"].unit = unit

    pending = put_back(
        buffer, lambda changes: describe(changes, before), lambda changes: describe(changes, after)
    )
    assert pending.stages["one"].unit == merged


def test_last_state_of_each_worker_is_kept(buffer):
    busy = WorkerChange(status=WorkerStatus.PROCESSING, current_chunk="c-1", progress_percent=40)
    idle = WorkerChange(status=WorkerStatus.IDLE)
    merged = put_back(
        buffer,
        lambda changes: changes.workers.update({1: busy, 2: busy}),
        lambda changes: changes.workers.update({1: idle, 3: idle}),
    )
    assert merged.workers == {1: idle, 2: busy, 3: idle}


def test_events_keep_their_order_and_those_dropped_are_all_counted(buffer):
    def entry(message: str) -> EventEntry:
        return EventEntry(at=NOON, level=EventLevel.INFO, message=message)

    def fill(changes: JobChanges) -> None:
        changes.events = [entry("before")] * (MAX_PENDING_EVENTS - 1)
        changes.dropped_events = 3

    def log(changes: JobChanges) -> None:
        changes.add_event(entry("after 1"))
        changes.add_event(entry("after 2"))
        changes.dropped_events += 5

    merged = put_back(buffer, fill, log)
    assert [event.message for event in merged.events[-2:]] == ["before", "after 1"]
    assert len(merged.events) == MAX_PENDING_EVENTS
    assert merged.dropped_events == 3 + 1 + 5  # the one is "after 2"


def test_taking_leaves_nothing_to_take_again(buffer):
    buffer.changes.own_counters["tables"].delta += 1
    assert buffer.take()
    assert not buffer.take()


def test_writer_learns_of_changes_that_a_waiting_caller_could_not_write():
    class Noticing:
        def __init__(self) -> None:
            self.noticed: list[Buffer] = []

        def notice(self, buffer: Buffer, *, is_urgent: bool = False) -> None:
            self.noticed.append(buffer)

    def fail(attempt: Attempt, changes: JobChanges) -> NoReturn:
        writer.noticed.clear()
        buffer.flush()  # as the writer's thread may, which finds nothing
        raise InvalidTransition("Job job", "failed", "become succeeded")

    attempt = Attempt(job_id="job", epoch="e", document_id="d", stage_names=("one",))
    writer = Noticing()
    buffer = Buffer(attempt, cast("Writer", writer))
    with buffer.change() as changes:
        changes.counters["entities_total"].delta += 1
    with pytest.raises(InvalidTransition):
        buffer.write(fail)
    assert writer.noticed == [buffer]
    assert buffer.take().counters["entities_total"].delta == 1
