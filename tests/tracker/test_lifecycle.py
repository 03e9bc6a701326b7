"""How jobs are queued, started, restarted, cancelled, lost and deleted."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingestion_progress.exceptions import (
    InvalidBatch,
    InvalidJobId,
    InvalidTransition,
    JobCancelled,
    JobExists,
    JobNotFound,
)
from ingestion_progress.models import Checkpoint, Job, Stage, Worker
from ingestion_progress.models.statuses import AttemptStatus, JobStatus, Liveness, StageStatus
from ingestion_progress.recovery import retry_job
from ingestion_progress.tracker import (
    delete_job,
    fail_job,
    queue_job,
    request_cancellation,
    track,
)
from ingestion_progress.tracker.attempts import this_process
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.endings import finish_attempt, hand_back_attempt, pause_seconds
from ingestion_progress.tracker.lifecycle import join_attempt, start_attempt
from ingestion_progress.tracker.plan import Attempt, JobPlan
from ingestion_progress.tracker.sql import write_changes
from ingestion_progress.wire.schemas import DEFAULT_WEIGHTS
from tests.support.rescuing import rescue_now

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def start(job_id="job", **plan):
    return start_attempt(JobPlan("a.pdf", job_id=job_id, **plan))


def restart(job_id="job", **plan):
    return start_attempt(JobPlan("a.pdf", job_id=job_id, **plan), restart=True)


def silence(job_id):
    """As if its writers had been killed an hour ago."""
    Job.objects.filter(pk=job_id).update(heartbeat_at=timezone.now() - timedelta(hours=1))


def test_each_write_of_a_job_moves_its_revision():
    queue_job("a.pdf", job_id="job", task="project.tasks.ingest")
    revisions = [Job.objects.get().revision]

    def note() -> None:
        revisions.append(Job.objects.get().revision)

    attempt = start()
    note()
    write_changes(attempt, JobChanges())
    note()
    request_cancellation("job")
    note()
    finish_attempt(attempt, JobChanges(), JobStatus.CANCELLED)
    note()
    retry_job("job")
    note()
    assert revisions == sorted(set(revisions))


def test_a_queued_job_has_the_default_stages_in_order_and_its_pool():
    job = queue_job("a.pdf", workers=2)
    assert job.job_status is JobStatus.QUEUED
    names = job.stages.order_by("position").values_list("name", flat=True)
    assert list(names) == ["parsing", "vlm", "chunking", "embedding", "extraction"]
    assert list(job.workers.values_list("number", flat=True)) == [1, 2]


def test_a_queued_job_has_all_that_was_declared_and_no_sign_of_life():
    declared = {"job_id": "job", "document_id": "d", "batch": "b", "workers": 2, "priority": -5}
    queue_job("a.pdf", stages={"x": 3}, **declared)
    job = Job.objects.get()
    assert (job.pk, job.document_id, job.document_name, job.batch) == ("job", "d", "a.pdf", "b")
    assert (job.pool_size, job.attempt, job.revision, job.event_count) == (2, 1, 0, 0)
    assert job.priority == -5
    assert list(job.stages.values_list("name", "position", "weight")) == [("x", 0, 3)]
    assert job.created_at == job.updated_at
    assert (job.started_at, job.heartbeat_at, job.writer) == (None, None, "")


def test_a_job_that_is_started_at_once_is_alive():
    attempt = start(document_id="d", batch="b", total_chunks=3, total_images=4)
    job = Job.objects.get()
    assert attempt == Attempt(
        job_id="job", epoch=job.epoch, document_id="d", stage_names=tuple(DEFAULT_WEIGHTS)
    )
    assert (job.batch, job.total_chunks, job.total_images) == ("b", 3, 4)
    assert job.created_at == job.updated_at == job.started_at == job.heartbeat_at
    assert job.writer == this_process()
    assert list(job.events.values_list("message", "level")) == [("Started", "info")]


def test_stages_by_name_have_the_weights_of_their_kind():
    named = queue_job("a.pdf", stages=["extraction", "proofreading", "vlm"])
    weighed = queue_job("a.pdf", stages={"extraction": 1, "vlm": 2.5})
    assert dict(named.stages.order_by("position").values_list("name", "weight")) == {
        "extraction": 45,
        "proofreading": 10,
        "vlm": 15,
    }
    assert dict(weighed.stages.values_list("name", "weight")) == {"extraction": 1, "vlm": 2.5}


def test_the_document_id_is_the_job_id_unless_given():
    assert queue_job("a.pdf", job_id="j").document_id == "j"
    assert queue_job("a.pdf", document_id="d").document_id == "d"


def test_a_job_without_an_id_gets_one_that_cannot_be_guessed():
    ids = {track("a.pdf", document_id="d").job_id for _ in range(3)}
    ids |= {queue_job("a.pdf", document_id="d").pk}
    assert len(ids) == 4
    assert min(map(len, ids)) >= 16


def test_an_id_is_taken_once():
    queue_job("a.pdf", job_id="job")
    start("newer")
    with pytest.raises(JobExists, match="Job job exists and is queued"):
        queue_job("b.pdf", job_id="job")


def test_a_refusal_of_the_database_for_another_reason_is_raised_as_it_is(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise IntegrityError("some other constraint")

    monkeypatch.setattr(Job, "save", refuse)
    with pytest.raises(IntegrityError, match="some other constraint"):
        queue_job("a.pdf", job_id="job")


def test_an_impossible_id_is_refused_before_it_is_written():
    with pytest.raises(InvalidJobId):
        queue_job("a.pdf", job_id="../etc")
    with pytest.raises(InvalidBatch, match="The id of a batch has"):
        queue_job("a.pdf", batch=" ")
    assert not Job.objects.exists()


def test_jobs_with_the_same_batch_are_found_by_it():
    queue_job("a.pdf", batch="import")
    queue_job("b.pdf", batch="other")
    queue_job("c.pdf")
    assert [job.document_name for job in Job.objects.of_batch("import")] == ["a.pdf"]
    assert not Job.objects.of_batch("").exists()


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("parsing", "give a list"),
        ([], "1 to 100 stages"),
        ([""], "cannot name a stage"),
        (["a" * 65], "cannot name a stage"),
        (["a\nb"], "cannot name a stage"),
        ({"a": 0}, "must be above 0"),
        ({"a": float("nan")}, "must be above 0"),
        ([f"s{n}" for n in range(101)], "1 to 100 stages"),
    ],
)
def test_invalid_stages_are_refused_with_the_reason(stages, message):
    with pytest.raises(ValueError, match=message):
        queue_job("a.pdf", stages=stages)


def test_long_and_broken_names_are_cut_and_cleaned():
    job = queue_job("x" * 300 + ".pdf\0")
    assert len(job.document_name) == 255
    assert job.document_name.endswith("…")
    assert queue_job("\udcff.pdf").document_name == "?.pdf"


def test_starting_a_queued_job_keeps_what_was_declared():
    queue_job("a.pdf", job_id="job", stages={"one": 1, "two": 3}, workers=2)
    attempt = start()
    assert attempt.stage_names == ("one", "two")
    job = Job.objects.get()
    assert job.job_status is JobStatus.RUNNING
    assert job.started_at == job.heartbeat_at
    assert job.pool_size == Worker.objects.count() == 2


def test_starting_a_queued_job_keeps_or_replaces_what_describes_it():
    anna, bert = (get_user_model().objects.create_user(name) for name in ("anna", "bert"))
    queued = {
        "document_id": "d", "workers": 2, "task": "shop.old", "owner": anna, "about": anna,
        "metadata": {"n": 1},
    }  # fmt: skip
    started = {
        "document_id": "e", "workers": 3, "task": "shop.new", "owner": bert, "about": bert,
        "metadata": {}, "total_chunks": 5, "total_images": 6,
    }  # fmt: skip
    for job_id in ("kept", "replaced"):
        queue_job("a.pdf", job_id=job_id, **queued)
    Job.objects.update(total_chunks=3, total_images=4)
    start_attempt(JobPlan("", job_id="kept"))
    attempt = start_attempt(JobPlan("b.pdf", job_id="replaced", **started))
    assert attempt.document_id == "e"
    names = ("document_name", "document_id", "pool_size", "total_chunks", "total_images")
    assert Job.objects.values_list(*names).get(pk="kept") == ("a.pdf", "d", 2, 3, 4)
    assert Job.objects.values_list(*names).get(pk="replaced") == ("b.pdf", "e", 3, 5, 6)
    names = ("task", "owner", "owner_name", "about_model", "about_id", "metadata")
    model = "auth.user"
    assert Job.objects.values_list(*names).get(pk="kept") == (
        "shop.old", anna.pk, "anna", model, str(anna.pk), {"n": 1}
    )  # fmt: skip
    assert Job.objects.values_list(*names).get(pk="replaced") == (
        "shop.new", bert.pk, "bert", model, str(bert.pk), {}
    )  # fmt: skip
    for job_id, workers in {"kept": 2, "replaced": 3}.items():
        assert Worker.objects.filter(job=job_id).count() == workers


def test_a_job_that_starts_waits_neither_for_its_batch_nor_for_a_time():
    queue_job("a.pdf", job_id="job", task="shop.ingest")
    Job.objects.update(waits_for_batch=True, retry_at=timezone.now())
    start()
    assert Job.objects.values_list("waits_for_batch", "retry_at").get() == (False, None)


@pytest.mark.parametrize(
    ("version", "stored", "counts"), [("", "v1", (3, 4, 4)), ("v2", "v2", (0, 0, 0))]
)
def test_another_version_of_the_document_makes_a_queued_job_begin_anew(version, stored, counts):
    queue_job("a.pdf", job_id="job", stages=["one"], document_version="v1")
    Stage.objects.update(processed=3, total=4, inherited_total=4)
    Checkpoint.objects.create(job_id="job", stage="one", ranges=[[1, 3]])
    start(document_version=version)
    assert Job.objects.get().document_version == stored
    assert Stage.objects.values_list("processed", "total", "inherited_total").get() == counts
    assert Checkpoint.objects.exists() is (stored == "v1")


def test_readers_see_that_a_queued_job_has_started():
    queued = queue_job("a.pdf", job_id="job")
    start()
    job = Job.objects.get()
    assert (job.epoch, job.revision) == (queued.epoch, queued.revision + 1)
    assert job.updated_at == job.started_at


def test_a_start_before_the_creation_by_another_hosts_clock_is_moved_to_it():
    queue_job("a.pdf", job_id="job")
    ahead = timezone.now() + timedelta(minutes=5)
    Job.objects.update(created_at=ahead)
    start()
    job = Job.objects.get()
    assert job.started_at == job.heartbeat_at == job.updated_at == ahead
    later = ahead + timedelta(minutes=5)
    Job.objects.update(status=JobStatus.QUEUED, queued_at=later)  # as by a retry
    start()
    assert Job.objects.get().started_at == later


def test_starting_may_replace_the_stages():
    queue_job("a.pdf", job_id="job")
    assert start(stages=["only"]).stage_names == ("only",)


def test_a_running_or_ended_job_does_not_start_again_by_accident():
    start()
    with pytest.raises(JobExists, match="is running"):
        start()
    request_cancellation("job")
    fail_job("job", "broken")
    with pytest.raises(JobExists, match="is failed"):
        start()


def test_a_restart_has_a_new_epoch_and_keeps_the_log():
    first = start(stages={"one": 2, "two": 1}, workers=1)
    finish_attempt(first, JobChanges(), JobStatus.FAILED, "broken")
    Job.objects.update(entities_total=7, counters={"tables": 3})
    second = start_attempt(JobPlan("a.pdf", job_id="job"), restart=True)
    job = Job.objects.get()
    assert second.epoch != first.epoch
    assert (job.attempt, job.entities_total, job.counters, job.error) == (2, 0, {}, "")
    assert job.finished_at is None
    assert list(job.stages.values_list("status", "weight")) == [("pending", 2), ("pending", 1)]
    messages = list(job.events.values_list("attempt", "message"))
    assert messages == [
        (1, "Started"),
        (1, "Failed: broken"),
        (2, "Started again, attempt 2"),
    ]


def test_a_job_that_runs_again_no_longer_says_why_it_had_to_wait():
    hand_back_attempt(start(task="tasks.ingest"), JobChanges(), AttemptStatus.FAILED, "No answer.")
    assert Job.objects.get().error == "No answer."
    start()
    job = Job.objects.get()
    assert (job.status, job.attempt, job.error) == (JobStatus.RUNNING, 2, "")
    assert job.attempts.get().error == "No answer."


def test_a_job_that_has_ended_is_not_handed_back():
    attempt = start(task="tasks.ingest")
    fail_job("job", "No text.")
    with pytest.raises(InvalidTransition, match="is failed and cannot be handed back"):
        hand_back_attempt(attempt, JobChanges(), AttemptStatus.FAILED, "No answer.")
    assert (Job.objects.get().status, Job.objects.get().attempt) == (JobStatus.FAILED, 1)


def test_an_attempt_that_is_handed_back_is_logged_and_has_its_stages_in_order():
    attempt = start(task="tasks.ingest", stages=["one", "two"])
    Stage.objects.filter(name="one").update(position=5)
    hand_back_attempt(attempt, JobChanges(), AttemptStatus.FAILED, "No answer.")
    line = Job.objects.get().events.last()
    assert (line.level, line.message) == ("warning", "Failed: No answer.")
    ended = Job.objects.get().attempts.get()
    assert [stage["name"] for stage in ended.stages] == ["two", "one"]


def test_pauses_grow_up_to_ten_minutes_and_differ_a_little():
    assert pause_seconds(0) == 0
    for failures, seconds in ((1, 5), (2, 20), (3, 80), (9, 600)):
        pauses = {pause_seconds(failures) for _ in range(9)}
        assert len(pauses) > 1
        assert all(0.9 * seconds <= pause <= 1.1 * seconds for pause in pauses)


def test_next_attempt_of_a_job_without_a_stored_task_is_due_when_its_broker_delivers_it():
    hand_back_attempt(start(), JobChanges(), AttemptStatus.FAILED, "No answer.")
    job = Job.objects.get()
    assert (job.status, job.retry_at) == (JobStatus.QUEUED, None)


def test_a_job_that_was_lost_before_failures_were_counted_has_failed_once():
    finish_attempt(start(), JobChanges(), JobStatus.LOST)
    assert Job.objects.get().failed_attempts == 0
    start()
    job = Job.objects.get()
    assert (job.status, job.attempt, job.failed_attempts) == (JobStatus.RUNNING, 2, 1)


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.LOST])
def test_a_lost_job_starts_again_as_long_as_it_has_attempts_left(settings, status):
    settings.INGESTION_PROGRESS_MAX_ATTEMPTS = 3
    start()
    is_recorded = status is JobStatus.LOST

    def lose(failures: int) -> None:
        silence("job")
        ended_at = timezone.now() if is_recorded else None
        failures += is_recorded
        Job.objects.update(status=status, finished_at=ended_at, failed_attempts=failures)

    lose(1)
    start()
    job = Job.objects.get()
    assert (job.status, job.attempt, job.failed_attempts) == (JobStatus.RUNNING, 2, 2)
    lose(2)
    with pytest.raises(JobExists):
        start()
    assert Job.objects.get().attempt == 2


def test_a_restart_resets_what_the_former_attempt_has_reached():
    first = start(stages=["one"], workers=1, total_chunks=5, total_images=6)
    request_cancellation("job")
    finish_attempt(first, JobChanges(), JobStatus.CANCELLED, "stopped")
    reached = {
        "entities_total": 1,
        "relations_total": 2,
        "neo4j_writes": 3,
        "qdrant_writes": 4,
        "total_chunks": 5,
        "total_images": 6,
        "queue_depth": 7,
        "error_count": 8,
        "reached_percent": 50.0,
        "counters": {"tables": 9},
    }
    Job.objects.update(event_count=100, **reached)  # more than the log had room for
    Stage.objects.update(processed=3, total=4, failed=1, in_flight=2, status=StageStatus.COMPLETED)
    restart()
    job, stage = Job.objects.get(), Stage.objects.get()
    fresh = dict.fromkeys(reached, 0) | {"counters": {}}
    assert {name: getattr(job, name) for name in reached} == fresh
    assert job.event_count == job.events.count() == 4
    assert (job.finished_at, job.cancel_requested_at, job.error) == (None, None, "")
    assert (stage.processed, stage.total, stage.failed, stage.in_flight) == (0, 0, 0, 0)
    assert (stage.started_at, stage.finished_at) == (None, None)
    assert (job.pool_size, stage.stage_status) == (1, StageStatus.PENDING)


@pytest.mark.parametrize("has_ended", [True, False])
def test_a_restart_forgets_a_request_to_stop(has_ended):
    first = start()
    request_cancellation("job")
    if has_ended:
        finish_attempt(first, JobChanges(), JobStatus.CANCELLED)
    second = restart()
    assert not write_changes(second, JobChanges()).is_cancel_requested


def test_a_restart_frees_the_workers_of_an_attempt_that_was_running():
    start(workers=1)
    Worker.objects.update(status="processing", current_chunk="c-1", progress_percent=50)
    start_attempt(JobPlan("a.pdf", job_id="job"), restart=True)
    worker = Worker.objects.get()
    assert (worker.status, worker.current_chunk, worker.progress_percent) == ("idle", "", 0)


def test_a_queued_job_is_cancelled_at_once_and_then_refuses_to_start():
    queue_job("a.pdf", job_id="job")
    job = request_cancellation("job")
    assert (job.job_status, job.error) == (JobStatus.CANCELLED, "Cancelled on request.")
    assert job.cancel_requested_at == job.cancel_acknowledged_at == job.finished_at
    assert not job.is_asked_to_stop
    with pytest.raises(JobCancelled):
        start()


def test_a_running_job_is_asked_to_stop_and_readers_see_it():
    start()
    before = Job.objects.get().revision
    job = request_cancellation("job")
    assert job.job_status is JobStatus.RUNNING
    assert job.cancel_requested_at is not None
    assert job.revision == before + 1
    again = request_cancellation("job")
    assert (again.cancel_requested_at, again.revision) == (job.cancel_requested_at, job.revision)
    assert list(job.events.values_list("message", "level")) == [
        ("Started", "info"),
        ("Cancellation requested", "warning"),
    ]


def test_a_job_without_heartbeats_is_cancelled_at_once():
    start()
    silence("job")
    assert request_cancellation("job").job_status is JobStatus.CANCELLED


@pytest.mark.parametrize("act", [delete_job, request_cancellation, partial(fail_job, reason="no")])
def test_an_id_that_no_database_can_look_for_is_refused(act):
    with pytest.raises(InvalidJobId):
        act("a\0b")


def test_an_ended_job_cannot_be_cancelled():
    finish_attempt(start(), JobChanges(), JobStatus.SUCCEEDED)
    with pytest.raises(InvalidTransition, match="is succeeded and cannot be cancelled"):
        request_cancellation("job")


@pytest.mark.parametrize(
    "act", [request_cancellation, delete_job, join_attempt, lambda job_id: fail_job(job_id, "why")]
)
def test_unknown_job_is_not_found(act):
    with pytest.raises(JobNotFound, match="Job not found: nothing"):
        act("nothing")


def test_a_running_job_cannot_be_deleted_but_a_silent_one_can():
    start()
    with pytest.raises(InvalidTransition, match="cancel it first"):
        delete_job("job")
    silence("job")
    delete_job("job")
    assert not Stage.objects.exists()


def test_a_stalled_job_is_deleted_only_with_even_if_running():
    start()
    now = timezone.now()
    Job.objects.update(heartbeat_at=now, updated_at=now - timedelta(hours=1))
    assert Job.objects.get().liveness(now) is Liveness.STALLED
    with pytest.raises(InvalidTransition, match="cancel it first"):
        delete_job("job")
    delete_job("job", even_if_running=True)
    assert not Job.objects.exists()


@pytest.mark.parametrize("status", sorted(JobStatus.final() | {JobStatus.QUEUED}))
def test_a_job_that_does_not_run_can_be_deleted(status):
    queue_job("a.pdf", job_id="job")
    if status.is_final:
        finish_attempt(start(), JobChanges(), status)
    delete_job("job")
    assert not Job.objects.exists()


def once_after_the_search(act):
    """For `connection.execute_wrapper`: what another process does meanwhile."""
    is_done = False

    def execute_and_act(execute, sql, *args):
        nonlocal is_done
        result = execute(sql, *args)
        if not is_done and sql.startswith("SELECT") and '"heartbeat_at" <=' in sql:
            is_done = True
            act()
        return result

    return execute_and_act


@pytest.mark.parametrize("comes", ["heartbeat", "end"])
def test_a_job_that_comes_back_or_ends_during_the_search_for_silent_ones_is_not_lost(comes):
    def beat():
        Job.objects.update(heartbeat_at=timezone.now())

    def end():
        finish_attempt(attempt, JobChanges(), JobStatus.SUCCEEDED)
        silence("job")

    attempt = start()
    silence("job")
    act = {"heartbeat": beat, "end": end}[comes]
    with connection.execute_wrapper(once_after_the_search(act)):
        assert rescue_now().lost == 0
    expected = {"heartbeat": JobStatus.RUNNING, "end": JobStatus.SUCCEEDED}[comes]
    assert Job.objects.get().job_status is expected


def test_silent_jobs_are_lost_and_the_others_are_not():
    start("dead", stages=["one"])
    start("dead too")
    start("alive")
    Stage.objects.filter(job="dead").update(status=StageStatus.IN_PROGRESS, in_flight=3)
    silence("dead")
    silence("dead too")
    assert rescue_now().lost == 2
    assert rescue_now().lost == 0
    dead = Job.objects.get(pk="dead")
    assert (dead.job_status, dead.error) == (JobStatus.LOST, "Its worker process disappeared.")
    assert dead.stages.get().stage_status is StageStatus.ERROR
    assert dead.stages.get().in_flight == 0
    assert Job.objects.get(pk="alive").job_status is JobStatus.RUNNING


def test_a_job_that_never_got_a_tracker_can_fail():
    queue_job("a.pdf", job_id="job")
    fail_job("job", "The queue is gone.")
    job = Job.objects.get()
    assert (job.status, job.error) == ("failed", "The queue is gone.")
    with pytest.raises(InvalidTransition, match="is failed and cannot become failed"):
        fail_job("job", "again")


def test_only_a_running_attempt_is_joined_unless_an_ended_one_is_wanted():
    attempt = start(stages=["two", "one"])
    assert join_attempt("job") == attempt
    finish_attempt(attempt, JobChanges(), JobStatus.SUCCEEDED)
    with pytest.raises(InvalidTransition, match="is succeeded and cannot be joined"):
        join_attempt("job")
    assert join_attempt("job", even_if_ended=True) == attempt


def test_a_restart_with_other_stages_and_workers_replaces_them():
    start(stages={"one": 2, "two": 1}, workers=3)
    attempt = restart(stages={"two": 5}, workers=1)
    assert attempt.stage_names == ("two",)
    assert list(Stage.objects.values_list("name", "weight")) == [("two", 5)]
    assert list(Worker.objects.values_list("number", flat=True)) == [1]
    assert restart().stage_names == ("two",)
    assert Worker.objects.count() == Job.objects.get().pool_size == 1


def test_an_end_before_the_start_of_another_hosts_clock_is_moved_to_it():
    attempt = start()
    ahead = timezone.now() + timedelta(minutes=5)
    Job.objects.update(started_at=ahead)
    finish_attempt(attempt, JobChanges(), JobStatus.SUCCEEDED)
    assert Job.objects.get().finished_at == ahead


@pytest.mark.parametrize("field", ["started_at", "created_at"])
def test_an_end_of_an_attempt_is_moved_to_a_start_or_a_creation_that_is_ahead(field):
    ahead = timezone.now() + timedelta(minutes=5)
    if field == "started_at":
        attempt = start(task="tasks.ingest")
        Job.objects.update(started_at=ahead)
        hand_back_attempt(attempt, JobChanges(), AttemptStatus.FAILED, "No answer.")
    else:
        queue_job("a.pdf", job_id="job")
        Job.objects.update(created_at=ahead)
        request_cancellation("job")
        assert Job.objects.get().finished_at == ahead
    assert Job.objects.get().attempts.get().finished_at == ahead


def test_start_of_a_queued_job_takes_few_statements():
    queue_job("a.pdf", job_id="job", stages=["one", "two"], workers=4)
    with CaptureQueriesContext(connection) as queries:
        start(workers=4)
    statements = [each["sql"].split()[0] for each in queries]
    # The job, its stages and its history are read; the job, a sample and an entry are written.
    assert statements.count("SELECT") == 3
    assert sum(map(statements.count, ("INSERT", "UPDATE", "DELETE"))) == 3
