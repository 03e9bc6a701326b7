from __future__ import annotations

import threading
from datetime import timedelta
from unittest.mock import Mock

import pytest
from django.db import DataError, OperationalError, connection
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from ingestion_progress import wakeups
from ingestion_progress.exceptions import JobExists, JobSuperseded
from ingestion_progress.models import Job, RescueWatch
from ingestion_progress.pipeline.tasks import ingest_document
from ingestion_progress.recovery import rescue, rescue_pass
from ingestion_progress.recovery.rescue import queue_due_tasks, report_death
from ingestion_progress.recovery.rescuer import passes
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import queue_job, request_cancellation, track
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.tracker.sql import write_changes
from tests.support.rescuing import rescue_now

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TASK = "ingestion_progress.pipeline.tasks.ingest_document"


def start(job_id: str = "job", *, task: str = TASK):
    return start_attempt(JobPlan("a.pdf", job_id=job_id, task=task))


def silence(job_id: str = "job", seconds: float = 3600) -> None:
    silent_since = timezone.now() - timedelta(seconds=seconds)
    Job.objects.filter(pk=job_id).update(heartbeat_at=silent_since)


def attempts(job_id: str = "job") -> list[tuple[int, str, str]]:
    job = Job.objects.get(pk=job_id)
    return [(each.number, each.status, each.error) for each in job.attempts.all()]


def test_a_lost_job_waits_for_its_next_attempt(caplog):
    old = start()
    silence()
    assert rescue_now() == rescue.RescueCounts(lost=1)
    job = Job.objects.get()
    assert (job.status, job.attempt, job.failed_attempts) == ("queued", 2, 1)
    assert job.error == "Its worker process disappeared."
    assert 4 < (job.retry_at - timezone.now()).total_seconds() < 6
    assert attempts() == [(1, "lost", "Its worker process disappeared.")]
    assert "job_rescued" in caplog.text
    with pytest.raises(JobSuperseded):
        write_changes(old, JobChanges())


def test_a_lost_job_is_announced(monkeypatch, django_capture_on_commit_callbacks):
    published: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        wakeups, "publish", lambda job_id, *, is_end: published.append((job_id, is_end))
    )
    start()
    silence()
    with django_capture_on_commit_callbacks(execute=True):
        rescue_now()
    assert published == [("job", False)]


def test_the_task_of_an_attempt_is_queued_once_when_it_is_due():
    start()
    silence()
    rescue_now()
    assert queue_due_tasks() == 0
    Job.objects.update(retry_at=timezone.now())
    assert queue_due_tasks() == 1
    assert queue_due_tasks() == 0
    assert [task.args_kwargs["args"] for task in DBTaskResult.objects.ready()] == [["job"]]


def test_the_task_row_of_the_dead_worker_is_ended():
    ingest_document.enqueue("job")
    ingest_document.enqueue("job-2")  # its arguments contain the other id
    DBTaskResult.objects.update(status="RUNNING", started_at=timezone.now())
    start()
    silence()
    rescue_now()
    statuses = {task.args_kwargs["args"][0]: task.status for task in DBTaskResult.objects.all()}
    assert statuses == {"job": "FAILED", "job-2": "RUNNING"}


def test_a_job_that_kills_its_worker_each_time_ends_after_the_last_attempt(settings):
    settings.INGESTION_PROGRESS_MAX_ATTEMPTS = 2
    start()
    silence()
    rescue_now()
    start()
    silence()
    rescue_now()
    job = Job.objects.get()
    end = "The job was lost or failed 2 times in a row: no further attempt."
    sentence = f"Its worker process disappeared. {end}"
    assert (job.status, job.attempt, job.error) == ("lost", 2, sentence)
    assert attempts() == [(1, "lost", "Its worker process disappeared."), (2, "lost", sentence)]


def test_a_job_without_a_task_is_lost(caplog):
    start(task="")
    silence()
    assert rescue_now().lost == 1
    assert Job.objects.get().status == "lost"
    assert "job_lost" in caplog.text


def test_a_lost_job_that_was_to_stop_is_cancelled():
    start()
    request_cancellation("job")
    silence()
    rescue_now()
    assert Job.objects.get().status == "cancelled"


def test_jobs_with_a_heartbeat_are_left_alone():
    start("alive")
    silence("alive", seconds=15)
    assert rescue_now().lost == 0


def test_heartbeats_are_watched_for_a_whole_lease_before_a_job_is_lost():
    start()
    silence()
    assert rescue_pass().lost == 0  # the first pass of all
    RescueWatch.objects.update(
        watching_since=timezone.now() - timedelta(seconds=19),
        last_pass_at=timezone.now() - timedelta(seconds=2),
    )
    assert rescue_pass().lost == 0
    RescueWatch.objects.update(
        watching_since=timezone.now() - timedelta(seconds=21),
        last_pass_at=timezone.now() - timedelta(seconds=2),
    )
    assert rescue_pass().lost == 1


def test_writers_get_a_whole_lease_again_after_a_gap_between_passes():
    start()
    silence()
    RescueWatch.objects.create(
        watching_since=timezone.now() - timedelta(days=1),
        last_pass_at=timezone.now() - timedelta(seconds=11),
    )
    assert rescue_pass().lost == 0
    watched = timezone.now() - RescueWatch.objects.get().watching_since
    assert watched < timedelta(seconds=5)


def test_a_job_is_not_lost_if_the_database_stands_still_within_a_pass(monkeypatch):
    start()
    silence()
    take_turn = rescue._take_turn

    def take_turn_and_stand_still() -> bool:
        is_taken = take_turn()
        RescueWatch.objects.update(last_pass_at=timezone.now() - timedelta(seconds=6))
        return is_taken

    monkeypatch.setattr(rescue, "_take_turn", take_turn_and_stand_still)
    assert rescue_now() == rescue.RescueCounts()
    monkeypatch.setattr(rescue, "_take_turn", take_turn)
    assert rescue_now().lost == 1


def test_another_process_may_make_the_first_pass_of_all_at_the_same_time():
    first = RescueWatch(id=1, watching_since=timezone.now(), last_pass_at=timezone.now())

    def be_second(execute, sql, *args):
        if sql.startswith("INSERT") and first._state.adding:
            first._state.adding = False
            first.save(force_insert=True)
        return execute(sql, *args)

    with connection.execute_wrapper(be_second):
        rescue_pass()
    assert RescueWatch.objects.get().last_pass_at == first.last_pass_at


def test_two_passes_at_a_time_are_one():
    RescueWatch.objects.create(watching_since=timezone.now() - timedelta(days=1))
    start()
    silence()
    assert rescue_pass().lost == 0  # another process has just had a pass


def test_a_supervisor_reports_a_death_at_once():
    start()
    writer = Job.objects.get().writer
    assert report_death("elsewhere/1").lost == 0
    assert report_death(writer).lost == 1
    assert Job.objects.get().error == "Its worker died."


def test_a_job_that_cannot_be_rescued_does_not_hold_up_the_others(monkeypatch, caplog):
    end_lost_tasks = rescue.end_lost_tasks

    def fail_for_one(job):
        if job.pk == "broken":
            raise DataError("value out of range")
        end_lost_tasks(job)

    monkeypatch.setattr(rescue, "end_lost_tasks", fail_for_one)
    for job_id in ("a", "broken", "c"):
        start(job_id)
        silence(job_id)
    assert rescue_now().lost == 2
    assert dict(Job.objects.values_list("pk", "status")) == {
        "a": "queued",
        "broken": "running",
        "c": "queued",
    }
    assert "job_not_rescued" in caplog.text


class NoPauses(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


@pytest.mark.django_db(transaction=True)
def test_a_pass_after_an_outage_has_a_new_connection():
    connected = []

    def act() -> None:
        connected.append(connection.connection is not None)
        if len(connected) == 1:
            connection.ensure_connection()
            raise OperationalError("the database is down")

    connection.close()
    next(passes(NoPauses(), act))
    assert connected == [False, False]


def test_an_outage_ends_the_pass(monkeypatch):
    start()
    silence()
    monkeypatch.setattr(rescue, "end_lost_tasks", Mock(side_effect=OperationalError("gone")))
    with pytest.raises(OperationalError):
        rescue_now()


def test_a_task_that_cannot_be_queued_is_tried_again_later(caplog):
    queue_job("a.pdf", job_id="job", task="no.such.task")
    Job.objects.update(retry_at=timezone.now())
    queue_due_tasks()
    assert (Job.objects.get().retry_at - timezone.now()).total_seconds() > 20
    assert "task_not_queued" in caplog.text


def test_tasks_of_starved_jobs_are_queued_again_on_request(monkeypatch):
    """A broker may lose its messages when it restarts."""
    queued = []
    monkeypatch.setattr(rescue, "queue_task", lambda job: queued.append(job.pk))
    for name in ("starved", "young", "retried", "without-task", "due-later", "waits", "running"):
        queue_job("a.pdf", job_id=name, task="" if name == "without-task" else TASK)
    start("running")
    hour = timedelta(hours=1)
    Job.objects.exclude(pk="young").update(created_at=timezone.now() - hour)
    Job.objects.filter(pk="due-later").update(retry_at=timezone.now() + hour)
    Job.objects.filter(pk="waits").update(waits_for_batch=True)
    Job.objects.filter(pk="retried").update(queued_at=timezone.now())
    assert rescue.queue_starved_tasks().queued == 1
    assert queued == ["starved"]
    assert Job.objects.get(pk="starved").retry_at is None


@pytest.mark.parametrize(("task", "tried"), [("refused", 1), ("no.such.task", 3)])
def test_a_queue_that_refuses_a_task_is_not_asked_for_the_others(monkeypatch, task, tried):
    """A broker that does not answer costs seconds. A task that does not exist costs nothing."""
    for name in "abc":
        queue_job("a.pdf", job_id=name, task=task)
    Job.objects.update(retry_at=timezone.now())
    if task == "refused":
        monkeypatch.setattr(rescue, "queue_task", Mock(side_effect=ConnectionError("no broker")))
    assert queue_due_tasks() == 0
    later = Job.objects.filter(retry_at__gt=timezone.now() + timedelta(seconds=20))
    assert later.count() == tried


def test_a_task_that_is_delivered_again_continues_a_lost_job_but_no_living_one():
    start()
    with pytest.raises(JobExists):
        start()
    silence()
    start()
    job = Job.objects.get()
    assert (job.status, job.attempt, job.failed_attempts) == ("running", 2, 1)


def test_a_stopped_process_hands_its_job_back():
    with (
        synchronous_tracking(),
        pytest.raises(SystemExit),
        track("a.pdf", job_id="job", task=TASK),
    ):
        raise SystemExit
    job = Job.objects.get()
    assert (job.status, job.attempt, job.failed_attempts) == ("queued", 2, 0)
    assert attempts()[0][1] == "interrupted"
    assert queue_due_tasks() == 1


def test_an_exception_to_retry_on_queues_the_job_again(settings):
    settings.INGESTION_PROGRESS_MAX_ATTEMPTS = 2
    for status in ("queued", "failed"):
        with (
            synchronous_tracking(),
            pytest.raises(ConnectionError),
            track("a.pdf", job_id="job", task=TASK, retry_on=(ConnectionError,)),
        ):
            raise ConnectionError("The service is down.")
        assert Job.objects.get().status == status
    assert [each[:2] for each in attempts()] == [(1, "failed"), (2, "failed")]


@pytest.mark.django_db(transaction=True)
def test_a_row_that_another_connection_holds_does_not_hold_up_the_others():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite locks no rows.")
    import threading

    from django.db import connections, transaction

    start("held")
    start("free")
    for job_id in ("held", "free"):
        silence(job_id)
    is_held, may_end = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            Job.objects.select_for_update().get(pk="held")
            is_held.set()
            may_end.wait(60)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        is_held.wait(60)
        assert rescue_now().lost == 1
    finally:
        may_end.set()
        thread.join()
    assert Job.objects.get(pk="free").status == "queued"
    assert Job.objects.get(pk="held").status == "running"


def test_a_pass_is_bounded_and_the_next_one_continues(monkeypatch):
    monkeypatch.setattr(rescue, "MAX_JOBS_PER_PASS", 2)
    for name in "abc":
        start(name)
        silence(name)
    assert [rescue_now().lost for _ in range(3)] == [2, 1, 0]
