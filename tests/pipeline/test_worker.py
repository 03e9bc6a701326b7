from __future__ import annotations

import io
import os
import signal
import threading
from datetime import timedelta
from functools import partial, partialmethod

import pytest
from django.db import OperationalError, connection
from django.db.backends.signals import connection_created
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from ingestion_progress.exceptions import JobSuperseded, ProgressUnavailable
from ingestion_progress.models import Job
from ingestion_progress.pipeline import ingestion, maintenance
from ingestion_progress.pipeline import worker as worker_module
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.tasks import extract_chunks
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.pipeline.worker import (
    SIGNALS,
    IngestionWorker,
    _fail_or_requeue,
    recover_abandoned,
    requeue,
)
from ingestion_progress.recovery import continue_batch, rescue_pass
from ingestion_progress.tracker import create_batch, delete_job, fail_job, track
from tests.support.clocks import host_ahead
from tests.support.documents import storage  # noqa: F401
from tests.support.rescuing import rescue_now

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("storage"),
    pytest.mark.database,
]


@pytest.fixture
def taken() -> DBTaskResult:
    """A task that a killed worker left running; its job is still queued."""
    receive(io.BytesIO(b"Bees make honey."), name="a.txt", job_id="job")
    task = DBTaskResult.objects.get()
    task.claim("gone")
    return task


def status(task: DBTaskResult) -> str:
    task.refresh_from_db()
    return task.status


def test_task_of_a_finished_job_is_failed(taken: DBTaskResult):
    with pytest.raises(ValueError, match="oops"), track("a.txt", job_id="job"):
        raise ValueError("oops")
    recover_abandoned("me")
    assert status(taken) == "FAILED"
    assert "Its worker was killed" in taken.traceback


def test_task_for_chunks_of_a_finished_job_is_failed(taken: DBTaskResult):
    extract_chunks.enqueue("job", "epoch", "document", [])
    part = DBTaskResult.objects.exclude(pk=taken.pk).get()
    part.claim("gone")
    with track("a.txt", job_id="job"):
        recover_abandoned("me")
        assert status(part) == "RUNNING"
    recover_abandoned("me")
    assert status(part) == "FAILED"


def test_jobs_of_a_full_batch_wait_and_are_all_run_by_a_draining_worker():
    create_batch(batch_id="import", max_running=1)
    receive(io.BytesIO(b"Bees make honey."), name="other.txt", job_id="blocking", batch="import")
    Job.objects.filter(pk="blocking").update(
        status="running", started_at=timezone.now(), heartbeat_at=timezone.now()
    )
    DBTaskResult.objects.all().delete()
    for name in ("a", "b"):
        receive(io.BytesIO(b"Bees make honey."), name=f"{name}.txt", job_id=name, batch="import")
    receive(io.BytesIO(b"Bees make honey."), name="c.txt", job_id="c")
    IngestionWorker(interval_seconds=0.05, is_draining=True).run()
    statuses = dict(Job.objects.values_list("pk", "status"))
    assert statuses == {"blocking": "running", "a": "queued", "b": "queued", "c": "succeeded"}
    assert Job.objects.waiting_for_batch().count() == 2
    fail_job("blocking", "Stopped.")
    continue_batch("blocking")
    IngestionWorker(interval_seconds=0.05, is_draining=True).run()
    assert Job.objects.with_result("succeeded").count() == 3


def test_worker_with_an_empty_queue_does_not_lock_the_database(taken: DBTaskResult):
    worker = IngestionWorker(interval_seconds=0.05)
    with CaptureQueriesContext(connection) as queries:
        assert worker._claimed() is None
    assert [each["sql"].split()[0] for each in queries] == ["SELECT"]


def test_each_task_is_claimed_by_one_worker(taken: DBTaskResult):
    requeue(DBTaskResult.objects.all())
    first, second = IngestionWorker(interval_seconds=0.05), IngestionWorker(interval_seconds=0.05)
    claimed = first._claimed()
    assert second._claimed() is None
    assert claimed == taken
    assert status(taken) == "RUNNING"
    assert taken.worker_ids == ["gone", first.worker_id]


def test_a_task_that_another_worker_has_claimed_meanwhile_is_left_to_it(monkeypatch):
    for name in ("a", "b"):
        receive(io.BytesIO(b"Bees make honey."), name=f"{name}.txt", job_id=name)
    slow, fast = IngestionWorker(interval_seconds=0.05), IngestionWorker(interval_seconds=0.05)
    claim, claimed = worker_module._claim, []

    def claims_late(task, worker_id):
        if worker_id == slow.worker_id and not claimed:
            claimed.append(fast._claimed())
        return claim(task, worker_id)

    monkeypatch.setattr(worker_module, "_claim", claims_late)
    claimed.append(slow._claimed())
    assert claimed == list(DBTaskResult.objects.order_by("enqueued_at"))
    assert [task.worker_ids for task in claimed] == [[fast.worker_id], [slow.worker_id]]
    assert slow._claimed() is None


def test_worker_connects_once_for_all_its_tasks():
    for name in ("a", "b", "c"):
        receive(io.BytesIO(b"Bees make honey."), name=f"{name}.txt", job_id=name)
        delete_job(name)  # the tasks find no job, and end
    connected: list[threading.Thread] = []

    def count(**kwargs: object) -> None:
        connected.append(threading.current_thread())

    connection_created.connect(count)
    try:
        IngestionWorker(interval_seconds=0.05, is_draining=True).run()
    finally:
        connection_created.disconnect(count)
    assert DBTaskResult.objects.successful().count() == 3
    assert connected.count(threading.current_thread()) <= 1
    assert connection.settings_dict["CONN_MAX_AGE"] == 0


def test_task_of_a_deleted_job_is_failed(taken: DBTaskResult):
    delete_job("job")
    recover_abandoned("me")
    assert status(taken) == "FAILED"


def test_task_of_a_running_worker_is_unchanged(taken: DBTaskResult):
    recover_abandoned("me")
    assert status(taken) == "RUNNING"
    with track("a.txt", job_id="job"):
        recover_abandoned("me")
        assert status(taken) == "RUNNING"
    recover_abandoned("gone")  # it is about to say so itself
    assert status(taken) == "RUNNING"


def test_old_task_whose_job_has_not_started_is_queued_again(taken: DBTaskResult):
    DBTaskResult.objects.update(started_at=timezone.now() - timedelta(hours=1))
    recover_abandoned("me")
    assert status(taken) == "READY"
    IngestionWorker(interval_seconds=0.05, is_draining=True).run_task(taken)
    assert Job.objects.get().status == "succeeded"


def test_stopping_worker_requeues_its_unstarted_task(taken: DBTaskResult):
    requeue(worker_module._tasks_of("somebody else"))
    assert status(taken) == "RUNNING"
    requeue(worker_module._tasks_of("gone"))
    assert status(taken) == "READY"


def test_task_of_a_job_without_a_heartbeat_is_failed(taken: DBTaskResult):
    with pytest.raises(JobSuperseded), track("a.txt", job_id="job"):
        Job.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
        rescue_now()
        assert Job.objects.get().status == "queued"
    assert status(taken) == "FAILED"


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Outage:
    """A call that fails a few times because the database is down."""

    def __init__(self, act, failures: int = 2) -> None:
        self._act, self._failures = act, failures

    def __call__(self, *args):
        if self._failures:
            self._failures -= 1
            raise OperationalError("the database is starting up")
        return self._act(*args)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(worker_module, "LAST_WORDS_SECONDS", 0.02)


@pytest.mark.usefixtures("quick", "handlers")
def test_worker_survives_an_outage_and_then_runs_the_task(
    taken: DBTaskResult, monkeypatch: pytest.MonkeyPatch
):
    requeue(DBTaskResult.objects.all())
    ready = type(DBTaskResult.objects).ready
    monkeypatch.setattr(type(DBTaskResult.objects), "ready", partialmethod(Outage(ready)))
    IngestionWorker(interval_seconds=0.05, is_draining=True).run()
    assert status(taken) == "SUCCESSFUL"


@pytest.mark.usefixtures("quick")
def test_task_that_ends_during_an_outage_ends_after_it(taken: DBTaskResult):
    taken.set_successful = Outage(taken.set_successful)
    IngestionWorker(interval_seconds=0.05).run_task(taken)
    assert status(taken) == "SUCCESSFUL"
    assert Job.objects.get().status == "succeeded"


@pytest.mark.usefixtures("quick")
def test_stopped_worker_does_not_wait_for_the_database(taken: DBTaskResult):
    taken.set_successful = taken.set_failed = Outage(taken.set_successful, failures=1000)
    worker = IngestionWorker(interval_seconds=0.05)
    worker.running = False
    with pytest.raises(OperationalError):
        worker._with_patience(taken.set_successful)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "error", [SystemExit("stop"), OperationalError("gone"), ProgressUnavailable("job", "start")]
)
def test_task_that_could_not_start_its_job_is_queued_again(
    taken: DBTaskResult, monkeypatch: pytest.MonkeyPatch, error: BaseException
):
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(ingestion, "track", fail)
    IngestionWorker(interval_seconds=0.05).run_task(taken)
    assert (status(taken), Job.objects.get().status) == ("READY", "queued")


def test_task_of_a_job_that_was_handed_back_is_over(taken: DBTaskResult):
    with track("a.txt", job_id="job") as job:
        job.hand_back("Its worker was stopped.")
    assert requeue(DBTaskResult.objects.all()) == 0
    _fail_or_requeue(taken, SystemExit("The worker was stopped."))
    assert status(taken) == "FAILED"


def test_task_that_a_host_whose_clock_is_ahead_has_handed_back_is_over(
    taken: DBTaskResult, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object) -> None:
        raise SystemExit("The worker was stopped.")

    monkeypatch.setattr(Bm25Embedder, "embed", stop)
    requeue(DBTaskResult.objects.all())
    worker = IngestionWorker(interval_seconds=0.05)
    with host_ahead(monkeypatch, 7200):
        worker.run_task(worker._claimed())
    assert status(taken) == "FAILED"
    assert Job.objects.values_list("status", "attempt").get() == ("queued", 2)


@pytest.mark.usefixtures("handlers")
def test_signal_ends_the_loop_and_the_command_returns():
    worker = IngestionWorker(interval_seconds=30)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = [signal.getsignal(number) for number in SIGNALS]
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    worker.run()
    assert worker.running is False
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.usefixtures("handlers")
def test_a_vector_store_that_hangs_does_not_hold_up_the_rescue(
    monkeypatch: pytest.MonkeyPatch, settings
):
    settings.INGESTION_PROGRESS_LOST_AFTER_SECONDS = 1
    answers, passes = threading.Event(), []
    monkeypatch.setattr(maintenance, "discard_abandoned", partial(answers.wait, 10))

    def rescue() -> None:
        passes.append(rescue_pass())
        if len(passes) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(worker_module, "rescue_pass", rescue)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, 5)
    IngestionWorker(interval_seconds=0.05).run()
    assert len(passes) >= 3
    answers.set()
    for thread in threading.enumerate():
        if thread.name in {"recovery", "cleanup"}:
            thread.join(30)


@pytest.mark.usefixtures("handlers")
def test_other_system_exit_is_raised(monkeypatch: pytest.MonkeyPatch):
    def leave(seconds: float) -> None:
        raise SystemExit(3)

    worker = IngestionWorker(interval_seconds=30)
    monkeypatch.setattr("time.sleep", leave)
    with pytest.raises(SystemExit) as left:
        worker.run()
    assert left.value.code == 3


def test_signals_while_a_job_runs(monkeypatch: pytest.MonkeyPatch):
    """The first starts the grace, the second hands the job back, the third exits."""
    codes: list[int] = []
    timers: list[tuple[int, float]] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(signal, "setitimer", lambda *args: timers.append(args))
    worker = IngestionWorker(interval_seconds=1, grace_seconds=3)
    worker.running_task = True
    worker.shutdown(signal.SIGTERM, None)
    assert (timers, worker.running) == ([(signal.ITIMER_REAL, 3)], False)
    with pytest.raises(SystemExit):
        worker.shutdown(signal.SIGALRM, None)
    assert codes == []
    with pytest.raises(SystemExit):
        worker.shutdown(signal.SIGTERM, None)
    assert codes == [1]
