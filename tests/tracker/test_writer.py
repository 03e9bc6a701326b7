"""When the writer's thread flushes, sends heartbeats, tries again and closes its connection."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import SimpleNamespace
from typing import Self

import pytest
from django.db import OperationalError, connection

from ingestion_progress import attach, track
from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.models import Job, JobEvent
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker import database, heartbeats, request_cancellation
from ingestion_progress.tracker import writer as writer_module
from ingestion_progress.tracker.buffer import Buffer
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.database import HUNG_SECONDS
from ingestion_progress.tracker.endings import finish_attempt
from ingestion_progress.tracker.heartbeats import CANCELLATION_SECONDS, Heartbeats
from ingestion_progress.tracker.jobs import JobTracker
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import Attempt, JobPlan
from ingestion_progress.tracker.unwritten import UnwrittenBuffers
from ingestion_progress.tracker.writer import (
    EXIT_SECONDS,
    FIRST_RETRY_SECONDS,
    KEPT_SECONDS,
    LAST_RETRY_SECONDS,
    BackgroundWriter,
    current_writer,
    use_writer,
)
from ingestion_progress.wire.snapshots import load_snapshot
from tests.support.tracking import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

HEARTBEAT_SECONDS = 5.0
LONG_SECONDS = 60.0


class Clock:
    """Moves only when a test sets it."""

    def __init__(self) -> None:
        self.now = float(round(time.monotonic()))  # exact sums of whole and half seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def writer(settings) -> Iterator[BackgroundWriter]:
    """A separate writer, which flushes once a minute unless something is urgent."""
    settings.INGESTION_PROGRESS_FLUSH_INTERVAL_SECONDS = LONG_SECONDS
    settings.INGESTION_PROGRESS_HEARTBEAT_SECONDS = LONG_SECONDS
    writer = BackgroundWriter()
    before = use_writer(writer)
    yield writer
    use_writer(before)
    writer.stop()


@pytest.fixture
def clock(writer, monkeypatch, settings) -> Clock:
    """The clock of the writer, which sends heartbeats by it."""
    settings.INGESTION_PROGRESS_HEARTBEAT_SECONDS = HEARTBEAT_SECONDS
    settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = 1
    clock = Clock()
    monkeypatch.setattr(writer_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    monkeypatch.setattr(writer_module, "URGENT_INTERVAL_SECONDS", 0.0)  # it would never pass
    return clock


def turn(writer: BackgroundWriter) -> None:
    """Waits until the writer's thread has done all that is due."""
    writer.call(lambda: None)
    with writer._working:
        pass


def heartbeat_at() -> datetime:
    return Job.objects.get().heartbeat_at


# Heartbeats


def test_heartbeat_comes_once_in_each_interval(writer, clock):
    with track("a.pdf", stages=["one"]):
        for _ in range(3):
            before = heartbeat_at()
            clock.now += HEARTBEAT_SECONDS - 0.5
            turn(writer)
            assert heartbeat_at() == before
            clock.now += 0.5
            turn(writer)
            assert heartbeat_at() > before


def test_job_that_starts_beside_others_is_kept_alive_by_their_heartbeat(writer, clock):
    with track("a.pdf", stages=["one"]):
        clock.now += HEARTBEAT_SECONDS / 2
        with track("b.pdf", stages=["one"]) as second:
            before = Job.objects.get(pk=second.job_id).heartbeat_at
            clock.now += HEARTBEAT_SECONDS / 2
            turn(writer)
            assert Job.objects.get(pk=second.job_id).heartbeat_at > before


# Connections


def is_connected(writer: BackgroundWriter) -> bool:
    return writer._connection is not None and writer._connection.connection is not None


def test_connection_is_kept_while_a_job_runs_and_closed_when_none_does(writer):
    for _ in range(2):
        with track("a.pdf", stages=["one"]) as job:
            job.flush()
            with writer._working:
                assert is_connected(writer)
        eventually(lambda: not is_connected(writer))


@pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="SQLite has no server that ends connections"
)
def test_heartbeat_after_a_lost_connection_uses_a_new_one(writer, clock):
    with track("a.pdf", stages=["one"]) as job:
        job.flush()
        before = heartbeat_at()
        process_id = writer._connection.connection.info.backend_pid
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [process_id])
        clock.now += HEARTBEAT_SECONDS
        turn(writer)
        assert not is_connected(writer)
        assert heartbeat_at() == before
        clock.now += HEARTBEAT_SECONDS
        turn(writer)
        assert heartbeat_at() > before


def test_queries_that_django_collects_for_debugging_are_forgotten(writer, settings):
    settings.DEBUG = True
    with track("a.pdf", stages=["one"]) as job:
        job.flush()
        with writer._working:
            assert not writer._connection.queries_log


# Failures


class DatabaseDown:
    """During the block, the database refuses all queries of the writer."""

    def __init__(self, writer: BackgroundWriter) -> None:
        self.refused = 0
        self._writer = writer
        self._wrappers = writer._connection.execute_wrappers

    def __enter__(self) -> Self:
        with self._writer._working:
            self._wrappers.append(self._refuse)
        return self

    def __exit__(self, *_: object) -> None:
        with self._writer._working:
            self._wrappers.remove(self._refuse)

    def _refuse(self, *_: object) -> None:
        self.refused += 1
        raise OperationalError("the database is down")


def fail_once_more(writer: BackgroundWriter) -> None:
    failures = writer.counts.failures
    writer._wake()
    eventually(lambda: writer.counts.failures == failures + 1)


def test_connection_is_closed_after_a_failure(writer, clock):
    with track("a.pdf", stages=["one"]):
        with DatabaseDown(writer):
            clock.now += HEARTBEAT_SECONDS
            fail_once_more(writer)
            with writer._working:
                assert not is_connected(writer)
        clock.now += FIRST_RETRY_SECONDS
        turn(writer)


def test_each_row_of_failures_begins_with_the_shortest_pause_and_is_logged_once(
    writer, clock, caplog
):
    caplog.set_level(logging.INFO, "ingestion_progress.tracker")
    with track("a.pdf", stages=["one"]):
        for _ in range(2):
            with DatabaseDown(writer):
                clock.now += HEARTBEAT_SECONDS
                fail_once_more(writer)
            before = heartbeat_at()
            clock.now += FIRST_RETRY_SECONDS
            turn(writer)
            clock.now += HEARTBEAT_SECONDS
            turn(writer)
            assert heartbeat_at() > before
    logged = [record.message for record in caplog.records]
    assert logged == 2 * ["tracker_database_down", "tracker_database_back"]


def test_pause_between_tries_grows_to_its_limit(writer, clock):
    pauses = []
    with track("a.pdf", stages=["one"]) as job:
        with DatabaseDown(writer):
            clock.now += HEARTBEAT_SECONDS
            for _ in range(7):
                fail_once_more(writer)
                with writer._working:
                    pauses.append(writer._retry_at - clock.now)
                clock.now = writer._retry_at
        turn(writer)
        job.stage("one").start()
    expected = [FIRST_RETRY_SECONDS * 2**n for n in range(5)] + 2 * [LAST_RETRY_SECONDS]
    assert pauses == pytest.approx(expected)


def test_nothing_is_tried_before_the_pause_is_over(writer, clock, settings):
    settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = FIRST_RETRY_SECONDS / 2
    with track("a.pdf", stages=["one"]) as job:
        with DatabaseDown(writer) as down:
            clock.now += HEARTBEAT_SECONDS
            fail_once_more(writer)
            job.stage("one").start()  # urgent
            call = writer._submit(lambda: None)  # its time is over first
            clock.now += FIRST_RETRY_SECONDS * 0.9
            writer._wake()
            assert isinstance(call.exception(5), TimeoutError)
            assert down.refused == 1
        clock.now = writer._retry_at
        turn(writer)
        assert status_of(job, "one") == "in_progress"


def test_thread_sleeps_during_the_pause(writer, clock, monkeypatch):
    turns = []
    with track("a.pdf", stages=["one"]):
        with DatabaseDown(writer):
            clock.now += HEARTBEAT_SECONDS
            fail_once_more(writer)
        work = writer._work
        monkeypatch.setattr(writer, "_work", lambda: (turns.append(1), work()))
        time.sleep(FIRST_RETRY_SECONDS / 4)
        assert len(turns) <= 2
        clock.now += FIRST_RETRY_SECONDS
        turn(writer)


def test_what_could_not_be_flushed_is_tried_after_the_pause_not_after_the_interval(writer, clock):
    with track("a.pdf", stages=["one"]) as job:
        with DatabaseDown(writer):
            job.stage("one").start()
            eventually(lambda: writer.counts.failures == 1)
            with writer._working:
                pass
        clock.now += FIRST_RETRY_SECONDS
        turn(writer)
        assert status_of(job, "one") == "in_progress"


# Flushes


def status_of(job: JobTracker, name: str) -> str:
    return next(stage.status for stage in load_snapshot(job.job_id).stages if stage.name == name)


def test_urgent_change_does_not_wait_for_the_flush_interval(writer):
    with track("a.pdf", stages=["one", "two"]) as job:
        for name in ("one", "two"):
            with job.stage(name):
                eventually(lambda name=name: status_of(job, name) == "in_progress")
            eventually(lambda name=name: status_of(job, name) == "completed")


def test_stages_that_change_right_after_a_write_are_written_together(writer, clock, monkeypatch):
    monkeypatch.setattr(writer_module, "URGENT_INTERVAL_SECONDS", 1.0)
    with track("a.pdf", stages={"one": 1, "two": 1}) as job:
        for name in ("one", "two"):
            with job.stage(name):
                turn(writer)
        assert status_of(job, "one") == status_of(job, "two") == "pending"
        assert writer.counts.flushes == 0
        clock.now += 3.0  # after the pauses that the calls of `turn` have begun
        writer.notice(job.buffer)
        eventually(lambda: status_of(job, "two") == "completed")
        eventually(lambda: writer.counts.flushes == 1)  # counted after the COMMIT


def test_count_waits_for_the_flush_interval(writer, clock):
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one")
        stage.start()
        turn(writer)
        stage.advance()
        clock.now += LONG_SECONDS - 1
        turn(writer)
        assert load_snapshot(job.job_id).stages[0].processed == 0
        clock.now += 1
        turn(writer)
        assert load_snapshot(job.job_id).stages[0].processed == 1


def test_cancellation_is_noticed_with_the_next_flush(writer, clock):
    with track("a.pdf", stages=["one"]) as job:
        request_cancellation(job.job_id)
        assert not job.cancel_requested
        job.stage("one").start()
        eventually(lambda: job.cancel_requested)


def test_end_by_another_process_is_noticed_with_the_next_flush(writer, clock):
    job = track("a.pdf", stages=["one"])
    job.start()
    with attach(job.job_id) as other:
        other.complete()
    job.raise_if_cancelled()
    job.stage("one").start()
    eventually(lambda: job.buffer.is_over)
    with pytest.raises(JobSuperseded):
        job.raise_if_cancelled()
    job.leave()


def test_a_job_that_reports_nothing_notices_its_cancellation_before_the_next_heartbeat(
    writer, clock
):
    with track("a.pdf", stages=["one"]) as job:
        before = heartbeat_at()
        clock.now += CANCELLATION_SECONDS
        turn(writer)
        assert heartbeat_at() == before
        request_cancellation(job.job_id)
        clock.now += CANCELLATION_SECONDS
        turn(writer)
        assert job.cancel_requested
        assert Job.objects.get().cancel_acknowledged_at > before
        acknowledged = heartbeat_at()
        clock.now += CANCELLATION_SECONDS  # no further heartbeat is sent early
        turn(writer)
        assert heartbeat_at() == acknowledged


def test_end_by_another_process_is_noticed_before_the_next_heartbeat(writer, clock):
    job = track("a.pdf", stages=["one"])
    job.start()
    finish_attempt(job.buffer.attempt, JobChanges(), JobStatus.SUCCEEDED)
    clock.now += CANCELLATION_SECONDS
    turn(writer)
    with pytest.raises(JobSuperseded):
        job.raise_if_cancelled()
    job.leave()


def test_cancellation_is_noticed_by_an_explicit_flush(writer):
    with track("a.pdf", stages=["one"]) as job:
        request_cancellation(job.job_id)
        job.flush()
        assert job.cancel_requested


def test_first_change_after_a_quiet_time_does_not_wait(writer, clock):
    with track("a.pdf", stages=["one"]) as job:
        turn(writer)
        for message in ("first", "second"):
            clock.now += LONG_SECONDS
            turn(writer)
            clock.now += LONG_SECONDS / 2
            turn(writer)
            job.log(message)
            eventually(lambda m=message: JobEvent.objects.filter(message=m).exists())


def test_change_is_written_without_another_one_once_its_interval_is_over(writer, settings):
    settings.INGESTION_PROGRESS_FLUSH_INTERVAL_SECONDS = 0.05
    with track("a.pdf", stages=["one"]) as job:
        job.stage("one").start()
        eventually(lambda: status_of(job, "one") == "in_progress")
        job.log("line")
        eventually(lambda: JobEvent.objects.filter(message="line").exists())


def test_flushes_and_failures_are_counted(writer, clock):
    with track("a.pdf", stages=["one"]) as job:
        job.stage("one").start()
        eventually(lambda: writer.counts.flushes == 1)
        with DatabaseDown(writer):
            clock.now += HEARTBEAT_SECONDS
            fail_once_more(writer)
        assert writer.counts.failures == 1
        clock.now = writer._retry_at
        turn(writer)
        assert writer.counts.flushes == 1


# What wakes the thread


class Unstarted(BackgroundWriter):
    """Its thread never runs; a test looks at what it would do."""

    def start(self) -> None:
        """The inbox has what would wake the thread."""

    def wakes(self) -> int:
        """How often it was woken since the last call."""
        count = self._inbox.qsize()
        for _ in range(count):
            self._inbox.get_nowait()
        return count


@pytest.fixture
def unstarted() -> Unstarted:
    return Unstarted()


@pytest.fixture
def buffer(unstarted) -> Buffer:
    attempt = Attempt(job_id="job", epoch="e", document_id="d", stage_names=("one",))
    return Buffer(attempt, unstarted)


def test_thread_is_woken_by_the_first_change_and_by_each_urgent_one(unstarted, buffer):
    wakes = []
    for is_urgent in (False, False, True, True, False):
        unstarted.notice(buffer, is_urgent=is_urgent)
        wakes.append(unstarted.wakes())
    assert wakes == [1, 0, 1, 1, 0]


def test_thread_is_woken_by_jobs_that_start_and_leave(unstarted, buffer):
    unstarted.open(buffer)
    assert unstarted.wakes() == 1
    assert 0 < unstarted._seconds_until_due() <= CANCELLATION_SECONDS
    unstarted.close(buffer)
    assert unstarted.wakes() == 1
    assert unstarted._seconds_until_due() is None


def test_change_is_due_although_nothing_else_is(unstarted, buffer):
    unstarted._flush_at = time.monotonic() + LONG_SECONDS
    assert unstarted._seconds_until_due() is None
    unstarted.notice(buffer)
    assert HEARTBEAT_SECONDS < unstarted._seconds_until_due() <= LONG_SECONDS
    unstarted.notice(buffer, is_urgent=True)
    assert unstarted._seconds_until_due() == 0


def test_urgent_change_postpones_no_flush_that_is_due_earlier(unstarted, buffer):
    now = time.monotonic()
    unstarted._flush_at, unstarted._urgent_at = now, now + LONG_SECONDS
    unstarted.notice(buffer, is_urgent=True)
    assert unstarted._seconds_until_due() == 0


def test_call_brings_no_later_flush_forward(unstarted, buffer):
    unstarted._flush_at = time.monotonic() + LONG_SECONDS
    unstarted._submit(lambda: None)
    unstarted._receive(0)
    unstarted._work()
    unstarted.notice(buffer)
    assert unstarted._seconds_until_due() > HEARTBEAT_SECONDS


def test_urgent_change_waits_a_moment_after_a_flush(writer, clock, monkeypatch):
    with track("a.pdf", stages=["one", "two"]) as job:
        job.stage("one").start()
        eventually(lambda: writer.counts.flushes == 1)
        monkeypatch.setattr(writer_module, "URGENT_INTERVAL_SECONDS", 1.0)
        clock.now += LONG_SECONDS
        job.log("due")
        eventually(lambda: writer.counts.flushes == 2)
        job.stage("two").start()
        turn(writer)
        assert status_of(job, "two") == "pending"
        clock.now += 1.0
        turn(writer)
        assert status_of(job, "two") == "in_progress"


def test_connection_is_kept_for_a_second_after_its_last_use(unstarted, buffer, monkeypatch):
    clock, closed = Clock(), []
    monkeypatch.setattr(writer_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    unstarted._connection = SimpleNamespace(connection=1, close=lambda: closed.append(clock.now))
    unstarted._submit(lambda: None)
    unstarted._receive(0)
    unstarted._work()
    assert unstarted._seconds_until_due() == KEPT_SECONDS
    clock.now += KEPT_SECONDS / 2
    unstarted.open(buffer)
    unstarted._work()
    unstarted.close(buffer)
    assert (unstarted._seconds_until_due(), closed) == (KEPT_SECONDS, [])
    clock.now += KEPT_SECONDS
    assert (unstarted._seconds_until_due(), closed) == (None, [clock.now])


def test_thread_that_is_to_end_sleeps_no_longer_than_it_may_live(unstarted, buffer):
    now = time.monotonic()
    unstarted.notice(buffer)
    unstarted.stopping_since, unstarted._retry_at = now, now + LONG_SECONDS
    assert unstarted._seconds_until_due() <= EXIT_SECONDS


@pytest.mark.usefixtures("clock")
def test_locked_row_makes_no_other_write_wait(writer, monkeypatch):
    tries: list[str] = []

    def locked_at_first(write: str) -> str:
        tries.append(write)
        if tries.count(write) > 1:
            return "written"
        error = OperationalError("canceling statement due to lock timeout")
        error.__cause__ = type("DriverError", (Exception,), {"sqlstate": "55P03"})()
        raise error

    assert writer.call(functools.partial(locked_at_first, "call")) == "written"
    flush = UnwrittenBuffers.flush

    def flush_late(unwritten: UnwrittenBuffers) -> int:
        locked_at_first("flush")
        return flush(unwritten)

    monkeypatch.setattr(UnwrittenBuffers, "flush", flush_late)
    with track("a.pdf", stages=["one"]) as job:
        job.stage("one").start()
        eventually(lambda: "flush" in tries)
        turn(writer)
        assert writer.counts.failures == 0


def test_stop_writes_a_postponed_end_although_its_pause_is_not_over(writer, clock):
    written: list[str] = []

    def write() -> None:
        written.append("tried" if not written else "written")
        if len(written) == 1:
            error = OperationalError("canceling statement due to lock timeout")
            error.__cause__ = type("DriverError", (Exception,), {"sqlstate": "55P03"})()
            raise error

    writer.postpone("job", write)
    eventually(lambda: written)
    turn(writer)
    assert written == ["tried"]
    writer.stop()
    assert written == ["tried", "written"]


def test_thread_that_has_ended_leaves_no_connection(writer):
    used = []
    writer.call(lambda: used.append(database.progress_connection()))
    writer.call(Job.objects.exists)
    writer.stop()
    assert used[0].connection is None


def test_requests_to_stop_are_looked_for_at_intervals(unstarted, monkeypatch):
    attempt = start_attempt(JobPlan("a.pdf", job_id="job", stages=["one"]))
    measured: list[object] = []
    monkeypatch.setattr(heartbeats.database_clock, "measure", measured.append)
    buffer, beats = Buffer(attempt, unstarted), Heartbeats()
    beats.add(buffer, 100.0)
    assert beats.due_at == 100.0 + CANCELLATION_SECONDS
    for now in (100.0 + CANCELLATION_SECONDS, 200.0):  # the second one sends a heartbeat
        beats.attend(now)
        assert beats.due_at == now + CANCELLATION_SECONDS
    assert measured == [database.progress_connection()]


def test_nothing_is_looked_for_if_each_attempt_is_over(unstarted, django_assert_num_queries):
    buffer = Buffer(start_attempt(JobPlan("a.pdf", job_id="job")), unstarted)
    beats = Heartbeats()
    beats.add(buffer, 100.0)
    buffer.is_over = True
    with django_assert_num_queries(0):
        beats.attend(100.0 + CANCELLATION_SECONDS)


def test_no_query_of_heartbeats_and_flushes_may_hang(monkeypatch):
    limits: list[float] = []

    class Watchdog:
        @contextmanager
        def limit(self, connection: object, seconds: float) -> Iterator[None]:
            limits.append(seconds)
            yield
            limits.pop()

    def check(execute, sql, *args):
        assert set(limits) == {HUNG_SECONDS}
        queries.append(sql)
        return execute(sql, *args)

    monkeypatch.setattr(database, "watchdog", Watchdog())
    attempt = start_attempt(JobPlan("a.pdf", job_id="job", stages=["one"]))
    buffer, live, queries = Buffer(attempt, Unstarted()), Heartbeats(), []
    live.add(buffer, 0.0)
    buffer.log("line", level="info")
    with connection.execute_wrapper(check):
        for act in (lambda: live.attend(1.0), lambda: live.attend(1e9), buffer.flush):
            queries.clear()
            act()
            assert queries


def test_postponed_end_of_a_locked_job_is_not_tried_in_each_turn(unstarted, monkeypatch):
    tries = []

    def write() -> None:
        tries.append(None)
        error = OperationalError("canceling statement due to lock timeout")
        error.__cause__ = type("DriverError", (Exception,), {"sqlstate": "55P03"})()
        raise error

    clock = Clock()
    monkeypatch.setattr(writer_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    unstarted.postpone("job", write)
    for seconds in (0.0, 1.0, LAST_RETRY_SECONDS - 1.5, 1.0):
        clock.now += seconds
        unstarted._work()
    assert len(tries) == 2
    assert unstarted._seconds_until_due() == LAST_RETRY_SECONDS


def test_fork_closes_the_connection_that_the_child_would_share(unstarted):
    calls = []
    unstarted._connection = SimpleNamespace(
        **{
            name: functools.partial(calls.append, name)
            for name in ("inc_thread_sharing", "close", "dec_thread_sharing")
        }
    )
    unstarted._before_fork()
    assert unstarted._working.locked()
    assert calls == ["inc_thread_sharing", "close", "dec_thread_sharing"]
    unstarted._after_fork_in_child()
    assert not unstarted._working.locked()
    assert unstarted._connection is None


def test_forked_child_writes_nothing_that_its_parent_writes(unstarted, buffer):
    other = Buffer(buffer.attempt, unstarted)
    unstarted.open(buffer)
    buffer.log("line", level="info")
    other.log("line", level="info")  # of a job without heartbeats
    live = unstarted._live
    with buffer.lock, live._lock:  # in the parent, by a thread that the child does not have
        unstarted._before_fork()
        unstarted._after_fork_in_child()
        assert not live._lock.locked()
    assert not buffer.take()
    assert not other.take()
    assert not unstarted._dirty
    assert not unstarted._live


def test_forked_child_forgets_the_counts_of_a_job_that_runs_in_its_parent(unstarted, buffer):
    unstarted.open(buffer)
    buffer.changes.counters["n"].delta += 1  # not noticed yet
    unstarted._before_fork()
    unstarted._after_fork_in_child()
    assert not buffer.take()


def test_postponed_end_is_due_although_nothing_else_is(unstarted):
    assert unstarted._seconds_until_due() is None
    unstarted.postpone("job", lambda: None)
    assert unstarted.wakes() == 1
    assert unstarted._seconds_until_due() == 0


def test_thread_does_not_end_before_it_has_done_what_it_received(unstarted, buffer):
    assert not unstarted._may_stop()
    unstarted.stopping_since = time.monotonic()
    assert unstarted._may_stop()
    unstarted._submit(lambda: None)
    assert not unstarted._may_stop()
    unstarted._receive(0)
    assert not unstarted._may_stop()
    assert unstarted._seconds_until_due() == 0
    unstarted._work()
    assert unstarted._may_stop()
    unstarted.notice(buffer)
    unstarted.wakes()
    assert not unstarted._may_stop()


def test_thread_that_is_to_end_pauses_before_it_tries_a_locked_job_again(
    unstarted, buffer, monkeypatch
):
    unstarted.stopping_since = time.monotonic()
    monkeypatch.setattr(UnwrittenBuffers, "flush", lambda self: 0)
    unstarted.notice(buffer)
    unstarted._work()
    assert 0 < unstarted._seconds_until_due() <= FIRST_RETRY_SECONDS


# Calls


def test_call_that_failed_is_tried_again_although_no_job_runs(writer):
    failures = [OperationalError("the database is down")]

    def write() -> str:
        if failures:
            raise failures.pop()
        return "written"

    assert writer.call(write) == "written"
    assert writer.counts.failures == 1


def test_stop_waits_for_a_call_that_has_to_be_tried_again(writer):
    failures = [OperationalError("the database is down")]

    def write() -> None:
        if failures:
            raise failures.pop()
        written.append("written")

    written = []
    writer._submit(write)
    eventually(lambda: writer.counts.failures == 1)
    writer.stop()
    assert written == ["written"]


def test_stop_waits_for_a_postponed_end_that_has_to_be_tried_again(writer):
    failures = [OperationalError("the database is down")]

    def write() -> None:
        if failures:
            raise failures.pop()
        written.append("written")

    written = []
    writer.postpone("job", write)
    eventually(lambda: writer.counts.failures == 1)
    writer.stop()
    assert written == ["written"]


def test_call_whose_caller_gave_up_is_not_written_later(writer, settings):
    settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = -0.99  # a hung thread gets a second more
    written = []
    with writer._working:
        with pytest.raises(TimeoutError):
            writer.call(lambda: written.append("given up"))
    settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = 5
    writer.call(lambda: written.append("next"))
    assert written == ["next"]


async def test_async_call_gives_up_too(writer, settings):
    settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = -0.99
    written = []
    with writer._working:
        with pytest.raises(TimeoutError):
            await writer.acall(lambda: written.append("given up"))
    settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = 5
    await writer.acall(lambda: written.append("next"))
    assert written == ["next"]


def test_error_of_the_code_is_logged_and_the_thread_continues(writer, clock, caplog, monkeypatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with track("a.pdf", stages=["one"]) as job:
        with monkeypatch.context() as broken:
            broken.setattr(heartbeats, "renew_heartbeats", fail)
            clock.now += HEARTBEAT_SECONDS
            fail_once_more(writer)
        before = heartbeat_at()
        clock.now = writer._retry_at
        turn(writer)
        assert heartbeat_at() > before
        job.stage("one").start()
        eventually(lambda: status_of(job, "one") == "in_progress")
    record = next(each for each in caplog.records if each.message == "tracker_writer_failed")
    assert record.exc_info[0] is ZeroDivisionError


def test_what_cannot_be_written_before_the_exit_is_logged(writer, monkeypatch, caplog):
    monkeypatch.setattr(writer_module, "EXIT_SECONDS", 0.0)
    with track("a.pdf", job_id="job", stages=["one"]) as job:
        with DatabaseDown(writer):
            job.log("lost")
            writer.postpone("late", lambda: start_attempt(JobPlan("b.pdf")))
            writer._wake()
            eventually(lambda: writer.counts.failures)
            writer.stop()
            assert writer._thread is None or not writer._thread.is_alive()
        record = next(
            each for each in caplog.records if each.message == "tracker_changes_lost_at_exit"
        )
        assert (record.job_ids, record.levelname) == (["job"], "ERROR")
        assert record.unrecorded_ends == ["late"]


def test_stop_writes_what_waits_for_the_interval(writer):
    with track("a.pdf", stages=["one"]) as job:
        job.flush()
        job.stage("one").start()
        eventually(lambda: status_of(job, "one") == "in_progress")
        job.log("late")
        writer.stop()
        assert JobEvent.objects.filter(message="late").exists()


def test_replaced_writer_is_returned():
    first, second = BackgroundWriter(), BackgroundWriter()
    before = use_writer(first)
    assert use_writer(second) is first
    assert use_writer(before) is second
    assert current_writer() is before
