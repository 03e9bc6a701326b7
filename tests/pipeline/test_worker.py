from __future__ import annotations

import io
import os
import signal
from datetime import timedelta

import pytest
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.models import Job
from ingestion_progress.pipeline import worker as worker_module
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.pipeline.worker import IngestionWorker, recover_abandoned, requeue
from ingestion_progress.tracker import delete_job, track
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
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_signal_ends_the_loop_and_the_command_returns():
    worker = IngestionWorker(interval_seconds=30)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    worker.run()
    assert worker.running is False


@pytest.mark.usefixtures("handlers")
def test_other_system_exit_is_raised(monkeypatch: pytest.MonkeyPatch):
    worker = IngestionWorker(interval_seconds=30)
    monkeypatch.setattr("time.sleep", lambda seconds: exec("raise SystemExit(3)"))
    with pytest.raises(SystemExit) as left:
        worker.run()
    assert left.value.code == 3


def test_second_signal_exits_immediately(monkeypatch: pytest.MonkeyPatch):
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    worker = IngestionWorker(interval_seconds=1)
    worker.running = False
    with pytest.raises(SystemExit):
        worker.shutdown(signal.SIGTERM, None)
    assert codes == [1]
