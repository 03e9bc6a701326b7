"""Changes that could not be written, merged with the later ones that wait in the buffer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NoReturn, cast

import pytest
from django.db import IntegrityError, OperationalError, connection

from ingestion_progress.exceptions import InvalidTransition, JobCancelled, JobSuperseded
from ingestion_progress.models.statuses import EventLevel, JobStatus, StageStatus, WorkerStatus
from ingestion_progress.tracker.buffer import Buffer, Writer
from ingestion_progress.tracker.changes import (
    MAX_PENDING_EVENTS,
    EventEntry,
    JobChanges,
    WorkerChange,
)
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import Attempt, JobPlan
from ingestion_progress.tracker.sql import WriteResult
from ingestion_progress.tracker.stages import StageTracker
from ingestion_progress.tracker.workers import WorkerSlot
from ingestion_progress.tracker.writer import background_writer, current_writer

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


async def test_blocks_of_async_code_start_and_end_what_blocks_of_other_code_do(buffer, flush_only):
    buffer = Buffer(buffer.attempt, current_writer())
    async with StageTracker(buffer, "one"), WorkerSlot(buffer, 1, "c-1"):
        assert buffer.changes.stages["one"].status is StageStatus.IN_PROGRESS
        assert buffer.changes.workers[1].status is WorkerStatus.PROCESSING
    assert buffer.changes.stages["one"].status is StageStatus.COMPLETED
    assert buffer.changes.workers[1].status is WorkerStatus.IDLE
    with pytest.raises(ValueError, match="odd"):
        async with StageTracker(buffer, "two"), WorkerSlot(buffer, 2, "c-2"):
            raise ValueError("odd")
    assert buffer.changes.stages["two"].status is StageStatus.ERROR
    assert buffer.changes.workers[2].status is WorkerStatus.ERROR


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
        changes.stages["three"].counters["total"].set(3)

    def complete(changes: JobChanges) -> None:
        changes.stages["one"].status = StageStatus.COMPLETED
        changes.stages["one"].started_at = NOON + timedelta(hours=1)
        changes.stages["one"].finished_at = NOON + timedelta(hours=2)
        changes.stages["two"].counters["failed"].delta += 1
        changes.stages["three"].status = StageStatus.IN_PROGRESS
        changes.stages["three"].started_at = NOON

    merged = put_back(buffer, start, complete)
    assert merged.stages["three"].started_at == NOON
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


@pytest.mark.parametrize(
    ("before", "after", "merged"),
    [(True, None, True), (True, False, False), (False, True, True), (None, True, True)],
)
def test_total_is_an_estimate_if_the_last_one_is(buffer, before, after, merged):
    def describe(changes: JobChanges, is_estimate: bool | None) -> None:
        changes.stages["one"].total_is_estimate = is_estimate

    pending = put_back(
        buffer, lambda changes: describe(changes, before), lambda changes: describe(changes, after)
    )
    assert pending.stages["one"].total_is_estimate is merged


@pytest.mark.parametrize(
    ("before", "after", "merged"),
    [("a", None, "a"), ("a", "", ""), ("", "b", "b"), (None, "b", "b"), (None, None, None)],
)
def test_service_that_is_waited_for_is_the_last_one(buffer, before, after, merged):
    def wait(changes: JobChanges, service: str | None) -> None:
        changes.waiting_for = service

    pending = put_back(
        buffer, lambda changes: wait(changes, before), lambda changes: wait(changes, after)
    )
    assert pending.waiting_for == merged
    assert bool(pending) is (merged is not None)


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
        raise InvalidTransition("Job job is failed and cannot become succeeded.")

    attempt = Attempt(job_id="job", epoch="e", document_id="d", stage_names=("one",))
    writer = Noticing()
    buffer = Buffer(attempt, cast("Writer", writer))
    with buffer.change() as changes:
        changes.counters["entities_total"].delta += 1
    with pytest.raises(InvalidTransition):
        buffer.write(fail)
    assert writer.noticed == [buffer]
    assert buffer.take().counters["entities_total"].delta == 1


class Notices:
    """A writer that records the notices and calls that it gets."""

    def __init__(self) -> None:
        self.urgent: list[bool] = []

    def notice(self, buffer: Buffer, *, is_urgent: bool = False) -> None:
        self.urgent.append(is_urgent)


def test_new_buffer_has_nothing_to_write_and_its_attempt_runs(buffer):
    buffer.raise_if_cancelled()
    assert not buffer.is_noticed
    assert not buffer.take()


def test_writer_is_notified_once_until_it_takes_the_changes_and_always_if_urgent(buffer):
    buffer.writer = notices = Notices()

    def change(*, is_urgent: bool = False) -> None:
        with buffer.change(is_urgent=is_urgent) as changes:
            changes.counters["n"].delta += 1

    change()
    change()
    assert notices.urgent == [False]
    change(is_urgent=True)
    assert notices.urgent == [False, True]
    assert buffer.take().counters["n"].delta == 3
    change()
    change()
    assert notices.urgent == [False, True, False]


def test_nothing_that_threads_count_is_lost_or_counted_twice_while_others_take_it(buffer):
    buffer.writer = Notices()
    stage = StageTracker(buffer, "one")
    stage.start()
    taken = [buffer.take()]
    is_over = threading.Event()

    def count() -> None:
        for _ in range(2_000):
            stage.advance(3)

    def take() -> None:
        while not is_over.is_set():
            buffer.put_back(buffer.take())  # as after a failed write
            taken.append(buffer.take())

    taker = threading.Thread(target=take)
    taker.start()
    for _ in range(3):  # each generation takes over ids of the last one
        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    is_over.set()
    taker.join()
    taken.append(buffer.take())
    assert sum(each.stages["one"].counters["processed"].delta for each in taken) == 144_000
    assert not buffer.take()


def test_count_notifies_the_writer_again_after_each_take(buffer):
    buffer.writer = notices = Notices()
    stage = StageTracker(buffer, "one")
    for _ in range(3):
        stage.advance()
        stage.advance()
        assert buffer.take().stages["one"].counters["processed"].delta == 2
    assert notices.urgent == [True, False, False]  # the first starts the stage


def test_absolute_count_replaces_what_was_advanced_before_it(buffer):
    buffer.writer = Notices()
    stage = StageTracker(buffer, "one")
    stage.advance(5)
    stage.set(processed=2)
    stage.advance(1)
    assert buffer.take().stages["one"].counters["processed"].applied_to(100) == 3


def test_changes_are_locked_while_they_are_changed(buffer):
    buffer.writer = Notices()
    with buffer.change():
        assert buffer.lock.locked()
    assert not buffer.lock.locked()


@pytest.mark.parametrize(("level", "errors"), [("info", 0), ("warning", 0), ("error", 1)])
def test_line_of_the_log_keeps_its_fields_and_errors_count(buffer, level, errors):
    buffer.writer = Notices()
    buffer.log("m", level=level, stage="one", item="page 3")
    changes = buffer.take()
    (entry,) = changes.events
    assert (entry.level, entry.message, entry.stage, entry.item) == (level, "m", "one", "page 3")
    assert changes.counters["error_count"].delta == errors
    with pytest.raises(ValueError, match="shout"):
        buffer.log("m", level="shout")


def result(status: JobStatus = JobStatus.RUNNING, *, is_cancel_requested: bool = False):
    return WriteResult(status=status, is_cancel_requested=is_cancel_requested, stages=())


@pytest.mark.parametrize(
    ("learned", "raised"),
    [
        (result(), None),
        (result(is_cancel_requested=True), JobCancelled),
        (result(JobStatus.FAILED), JobSuperseded),
        (result(JobStatus.CANCELLED, is_cancel_requested=True), JobCancelled),
        (None, JobSuperseded),
    ],
)
def test_state_of_the_job_decides_whether_the_task_continues(buffer, learned, raised):
    buffer.is_cancel_requested, buffer.is_over = True, True  # of an earlier look
    buffer.learn(learned)
    if raised is None:
        buffer.raise_if_cancelled()
    else:
        with pytest.raises(raised, match="job"):
            buffer.raise_if_cancelled()
    assert buffer.is_over is (learned is None or learned.status.is_final)


def test_flush_of_a_locked_job_leaves_its_changes_pending(buffer):
    buffer.is_cancel_requested = True
    buffer.changes.counters["n"].delta += 1
    assert not buffer.receive(buffer.take(), None)
    assert buffer.is_cancel_requested  # nothing was learned
    assert buffer.take().counters["n"].delta == 1
    assert buffer.receive(JobChanges(), result())
    assert not buffer.is_cancel_requested


def test_write_takes_all_changes_and_learns_the_state(buffer):
    def write(attempt: Attempt, changes: JobChanges) -> WriteResult:
        assert attempt is buffer.attempt
        assert changes.counters["n"].delta == 1
        return result(JobStatus.FAILED, is_cancel_requested=True)

    buffer.changes.counters["n"].delta += 1
    assert buffer.write(write).status is JobStatus.FAILED
    assert (buffer.is_over, buffer.is_cancel_requested) == (True, True)
    assert not buffer.changes


@pytest.mark.parametrize("error", [OperationalError("down"), ValueError("wrong")])
def test_write_that_fails_puts_the_changes_back(buffer, error):
    def write(*_: object) -> WriteResult:
        raise error

    buffer.writer = Notices()
    buffer.changes.counters["n"].delta += 1
    with pytest.raises(type(error)):
        buffer.write(write)
    assert buffer.take().counters["n"].delta == 1
    assert not buffer.is_over


def test_write_of_a_superseded_attempt_drops_the_changes(buffer):
    def write(*_: object) -> WriteResult:
        raise JobSuperseded("job")

    buffer.changes.counters["n"].delta += 1
    with pytest.raises(JobSuperseded):
        buffer.write(write)
    assert buffer.is_over
    assert not buffer.take()


@pytest.mark.django_db
@pytest.mark.database
class TestFlush:
    @pytest.fixture
    def running(self) -> Buffer:
        attempt = start_attempt(JobPlan("a.pdf", job_id="job", stages=["one"]))
        buffer = Buffer(attempt, background_writer)
        buffer.changes.counters["entities_total"].delta += 1
        return buffer

    def test_superseded_attempt_is_over_and_logged(self, running, caplog):
        start_attempt(JobPlan("a.pdf", job_id="job"), restart=True)
        running.flush()
        assert running.is_over
        assert not running.changes
        (record,) = caplog.records
        assert (record.message, record.job_id) == ("tracker_superseded", "job")

    @pytest.mark.parametrize("error", [IntegrityError("refused"), ValueError("many")])
    def test_refused_changes_are_dropped_and_logged_with_the_traceback(
        self, running, caplog, error
    ):
        def refuse(*_: object) -> None:
            raise error

        with connection.execute_wrapper(refuse):
            running.flush()
        assert not running.is_over
        assert not running.changes
        record = next(each for each in caplog.records if each.message == "tracker_changes_refused")
        assert (record.job_id, record.levelname) == ("job", "ERROR")
        assert record.exc_info[1] is not None

    def test_outage_keeps_the_changes(self, running):
        def refuse(*_: object) -> None:
            raise OperationalError("down")

        with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
            running.flush()
        assert running.take().counters["entities_total"].delta == 1


def test_forked_child_forgets_what_its_parent_writes(buffer):
    buffer.changes.counters["n"].delta += 1
    buffer.advances["one"][1] += 1
    buffer.is_noticed = True
    with buffer.lock:  # in the parent, by a thread that the child does not have
        buffer.forget()
        assert not buffer.lock.locked()
    assert not buffer.changes
    assert not buffer.is_noticed
    assert not buffer.take()
