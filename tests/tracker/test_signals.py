"""Signals of jobs: which, when, how often, and in which thread they are sent."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from ingestion_progress import track
from ingestion_progress.models import Job, JobAttempt
from ingestion_progress.models.statuses import AttemptStatus, JobStatus
from ingestion_progress.recovery import retry_job
from ingestion_progress.recovery.rescue import report_death
from ingestion_progress.signals import attempt_ended, job_ended, job_started
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import fail_job, queue_job, request_cancellation
from ingestion_progress.tracker.cancellations import request_cancellations
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.endings import finish_attempt
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.tracker.signal_sender import SignalSender, signal_sender
from tests.support.tracking import eventually, quick_writer  # noqa: F401

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

TASK = "shop.tasks.ingest"


class Received:
    """What was received, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.threads: set[str] = set()

    def receiver(self, name: str):
        def receive(sender, job, signal, **values):
            assert sender is Job
            self.threads.add(threading.current_thread().name)
            self.calls.append((name, {"id": job.pk, "status": job.status, **values}))

        return receive

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


@pytest.fixture
def received():
    received = Received()
    signals = {"started": job_started, "attempt": attempt_ended, "ended": job_ended}
    receivers = {name: received.receiver(name) for name in signals}
    for name, signal in signals.items():
        signal.connect(receivers[name])
    yield received
    for name, signal in signals.items():
        assert signal.disconnect(receivers[name])


def test_a_job_that_runs_sends_each_signal_once_from_a_thread_of_its_process(received):
    with track("a.pdf", job_id="job"):
        eventually(lambda: received.names == ["started"])
    eventually(lambda: len(received.calls) == 3)
    assert received.calls == [
        ("started", {"id": "job", "status": "running"}),
        ("attempt", {"id": "job", "status": AttemptStatus.SUCCEEDED, "attempt": 1, "error": ""}),
        ("ended", {"id": "job", "status": JobStatus.SUCCEEDED}),
    ]
    assert received.threads == {"ingestion-progress-signals"}


def test_trackers_of_tests_send_at_once(received):
    with synchronous_tracking(), track("a.pdf"):
        assert received.names == ["started"]
    assert received.threads == {threading.current_thread().name}


def test_signal_is_sent_once_although_no_thread_can_start(monkeypatch):
    """As at the end of the interpreter."""

    def fail() -> None:
        raise RuntimeError("can't start new thread")

    sender, sent = SignalSender(), []
    monkeypatch.setattr(sender, "start", fail)
    for number in (1, 2):
        sender.put(lambda: sent.append(number))  # noqa: B023
        assert sent == [*range(1, number + 1)]
    assert not sender._pending


def test_what_is_written_stays_written_if_its_signal_cannot_be_sent(monkeypatch, received, caplog):
    def fail(send: object) -> None:
        raise MemoryError

    monkeypatch.setattr(signal_sender, "put", fail)
    with synchronous_tracking(), track("a.pdf", job_id="job"):
        pass
    assert Job.objects.get().status == JobStatus.SUCCEEDED
    assert received.names == []
    assert "Error calling" in caplog.text


def test_an_idle_thread_ends_when_it_is_stopped(monkeypatch):
    monkeypatch.setattr("ingestion_progress.tracker.signal_sender.IDLE_SECONDS", 600)
    sender, sent = SignalSender(), []
    sender.put(lambda: sent.append(1))
    thread = sender._thread
    eventually(lambda: sent and sender._changed._waiters)
    sender.stop()
    assert not thread.is_alive()


def test_an_idle_thread_keeps_no_connection(monkeypatch):
    # With it Django keeps connections, also those of a thread.
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 60)
    monkeypatch.setattr("ingestion_progress.tracker.signal_sender.IDLE_SECONDS", 0.01)
    used = []

    def receive(**kwargs):
        used.append(connections["default"])
        Job.objects.count()

    job_started.connect(receive)
    try:
        with track("a.pdf"):
            eventually(lambda: used)
    finally:
        job_started.disconnect(receive)
    assert used[0] is not connection
    eventually(lambda: used[0].connection is None)


def test_a_connection_closes_as_its_age_says_before_and_after_a_receiver(monkeypatch):
    # Otherwise one that the server has closed meanwhile would fail the next receiver.
    sender, found = SignalSender(), []

    def use() -> None:
        used = connections["default"]
        found.append((used, used.connection is not None))
        Job.objects.count()

    def send(max_age: int) -> None:
        monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", max_age)
        sender.put(use)

    monkeypatch.setattr("ingestion_progress.tracker.signal_sender.IDLE_SECONDS", 600)
    send(600)
    eventually(lambda: found and sender._changed._waiters)
    used, _ = found[0]
    assert used.connection is not None
    used.close_at = 0
    send(0)
    eventually(lambda: len(found) == 2 and sender._changed._waiters)
    assert [was_open for _, was_open in found] == [False, False]
    assert used.connection is None
    sender.stop()


def test_signals_that_wait_for_a_receiver_are_sent_in_their_order_by_one_thread():
    sender, sent, is_free = SignalSender(), [], threading.Event()
    threads = set()

    def send(number: int) -> None:
        assert is_free.wait(60)
        sent.append(number)
        threads.add(threading.current_thread())

    for number in range(4):
        sender.put(partial(send, number))
    is_free.set()
    sender.stop()
    assert sent == [0, 1, 2, 3]
    assert len(threads) == 1


def test_signal_that_comes_while_an_idle_thread_ends_is_sent_by_it_or_by_another(monkeypatch):
    monkeypatch.setattr("ingestion_progress.tracker.signal_sender.IDLE_SECONDS", 0.001)
    sender, sent = SignalSender(), []
    wait = sender._changed.wait

    def wait_too_short(seconds: float) -> bool:
        wait(seconds)
        if not sent and not sender._pending:
            sender._pending.append(lambda: sent.append("late"))
        return False

    monkeypatch.setattr(sender._changed, "wait", wait_too_short)
    sender.start()
    eventually(lambda: sent == ["late"] and sender._thread is None)
    sender.put(lambda: sent.append("next"))
    eventually(lambda: sent == ["late", "next"])


class TestEndings:
    @pytest.fixture(autouse=True)
    def write_at_once(self):
        with synchronous_tracking():
            yield

    def test_a_failure_has_its_reason(self, received):
        with pytest.raises(ValueError, match="No text"), track("a.pdf"):
            raise ValueError("No text.")
        assert received.names == ["started", "attempt", "ended"]
        assert received.calls[1][1]["error"] == "No text."

    def test_a_long_reason_is_received_as_it_is_stored(self, received):
        attempt = start_attempt(JobPlan("a.pdf", job_id="job"))
        finish_attempt(attempt, JobChanges(), JobStatus.FAILED, "why\0" + "y" * 3000)
        assert received.calls[1][1]["error"] == "why" + "y" * 1996 + "…" == Job.objects.get().error

    def test_an_attempt_that_another_follows_does_not_end_the_job(self, received):
        with pytest.raises(OSError, match="net"), track("a", task=TASK, retry_on=(OSError,)):
            raise OSError("net")
        assert received.names == ["started", "attempt"]
        assert received.calls[1][1]["status"] == AttemptStatus.FAILED

    def test_a_receiver_gets_the_job_of_the_attempt_that_ended(self):
        found = []

        def receive(job, **kwargs):
            found.append((job.status, job.attempt, job.finished_at))

        attempt_ended.connect(receive)
        try:
            with pytest.raises(OSError, match="net"), track("a", task=TASK, retry_on=(OSError,)):
                raise OSError("net")
        finally:
            attempt_ended.disconnect(receive)
        assert found == [(JobStatus.RUNNING, 1, None)]
        assert Job.objects.get().attempt == 2

    def test_each_of_several_jobs_that_end_together_is_announced(self, received):
        for job_id in "ab":
            queue_job("a.pdf", job_id=job_id)
        assert request_cancellations(["a", "b"]) == {}
        for name in ("attempt", "ended"):
            assert [call["id"] for sent, call in received.calls if sent == name] == ["a", "b"]

    def test_a_waiting_job_that_is_cancelled_ends_once(self, received):
        queue_job("a.pdf", job_id="job")
        request_cancellation("job")
        assert received.names == ["attempt", "ended"]
        assert received.calls[1][1]["status"] == JobStatus.CANCELLED

    def test_a_job_that_failed_before_it_ran_ends_once(self, received):
        queue_job("a.pdf", job_id="job")
        fail_job("job", "No text.")
        assert received.names == ["attempt", "ended"]

    @pytest.mark.parametrize(("task", "names"), [("", ["attempt", "ended"]), (TASK, ["attempt"])])
    def test_a_lost_job_ends_or_has_another_attempt(self, received, task, names):
        now = timezone.now()
        Job.objects.create(
            id="job", status="running", started_at=now, heartbeat_at=now, writer="w", task=task
        )
        report_death("w")
        report_death("w")
        assert received.names == names
        assert received.calls[0][1]["attempt"] == 1

    def test_a_job_that_is_retried_ends_again(self, received):
        queue_job("a.pdf", job_id="job", task=TASK)
        fail_job("job", "No text.")
        retry_job("job")
        with track("a.pdf", job_id="job"):
            pass
        assert received.names == ["attempt", "ended", "started", "attempt", "ended"]
        assert received.calls[3][1]["attempt"] == 2

    @pytest.mark.parametrize(
        ("prepare", "status", "error"),
        [
            (lambda: None, AttemptStatus.INTERRUPTED, ""),
            (
                lambda: Job.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1)),
                AttemptStatus.LOST,
                "Its worker process disappeared.",
            ),
            (lambda: fail_job("job", "No text."), AttemptStatus.FAILED, "No text."),
        ],
    )
    def test_a_restart_records_once_how_the_former_attempt_ended(
        self, received, prepare, status, error
    ):
        track("a.pdf", job_id="job").start()
        prepare()
        track("a.pdf", job_id="job", restart=True).start()
        (ended,) = [values for name, values in received.calls if name == "attempt"]
        assert (ended["attempt"], ended["status"], ended["error"]) == (1, status, error)
        stored = JobAttempt.objects.values_list("number", "status", "error").get()
        assert stored == (1, status, error)

    def test_nothing_is_sent_before_the_commit_or_after_a_rollback(self, received):
        queue_job("a.pdf", job_id="job")
        with transaction.atomic():
            fail_job("job", "No text.")
            assert received.names == []
            transaction.set_rollback(True)
        assert received.names == []
        with transaction.atomic():
            fail_job("job", "No text.")
        assert received.names == ["attempt", "ended"]

    def test_a_receiver_that_raises_is_logged_and_stops_nothing(self, received, caplog):
        def broken(**kwargs):
            raise RuntimeError("a mistake in the receiver")

        job_ended.connect(broken)
        try:
            with track("a.pdf", job_id="job"):
                pass
        finally:
            job_ended.disconnect(broken)
        assert Job.objects.get().status == JobStatus.SUCCEEDED
        assert received.names == ["started", "attempt", "ended"]
        assert "a mistake in the receiver" in caplog.text

    def test_a_receiver_finds_the_end_in_the_database(self):
        found = []

        def receive(job, **kwargs):
            found.append((Job.objects.get(pk=job.pk).status, job.result, job.error))
            assert not connection.in_atomic_block

        job_ended.connect(receive)
        try:
            queue_job("a.pdf", job_id="job")
            fail_job("job", "No text.")
        finally:
            job_ended.disconnect(receive)
        assert found == [("failed", "failed", "No text.")]
