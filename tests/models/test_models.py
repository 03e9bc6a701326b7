from __future__ import annotations

import importlib
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from ingestion_progress.exceptions import InvalidJobId
from ingestion_progress.models import (
    Batch,
    Job,
    JobEvent,
    Stage,
    Worker,
    clean_job_id,
    insert_rows,
    new_epoch,
    new_job_id,
    rows_by,
)
from ingestion_progress.models.statuses import JobStatus, Liveness

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def make_job(**fields) -> Job:
    return Job.objects.create(document_name="report.pdf", **fields)


@pytest.mark.parametrize("job_id", ["test-job-123", "x" * 255, "a b", "🙂", "%00"])
def test_a_caller_may_choose_odd_ids(job_id):
    assert clean_job_id(job_id) == job_id


@pytest.mark.parametrize(
    "job_id",
    ["", ".", "..", "a/b", "a\\b", " a", "a\n", "a\0b", "\u202eabc", "x" * 256, "\ud800", None, 7],
)
def test_an_id_that_cannot_stand_in_a_url_is_refused(job_id):
    with pytest.raises(InvalidJobId, match="1 to 255 printable characters"):
        clean_job_id(job_id)


def test_generated_ids_are_long_and_differ():
    assert len(new_job_id()) >= 22
    assert new_job_id() != new_job_id()
    assert len(new_epoch()) == 12
    assert new_epoch() != new_epoch()


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "dreaming"},
        {"id": ""},
        {"reached_percent": 101},
        {"status": JobStatus.SUCCEEDED},  # without finished_at
        {"finished_at": timezone.now()},  # without a final status
    ],
)
def test_the_database_refuses_a_job_that_cannot_be(fields):
    with pytest.raises(IntegrityError), transaction.atomic():
        make_job(**fields)


def test_a_job_cannot_end_before_it_starts():
    now = timezone.now()
    with pytest.raises(IntegrityError), transaction.atomic():
        make_job(status=JobStatus.FAILED, started_at=now, finished_at=now - timedelta(seconds=1))


def test_a_stage_name_and_a_position_stand_once_in_a_job():
    job = make_job()
    Stage.objects.create(job=job, name="parsing", position=0, weight=1)
    for clash in ({"name": "parsing", "position": 1}, {"name": "other", "position": 0}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Stage.objects.create(job=job, weight=1, **clash)


@pytest.mark.parametrize(
    "row",
    [
        lambda job: Stage(job=job, name="a", position=0, weight=0),
        lambda job: Stage(job=job, name="a", position=0, weight=1, status="dreaming"),
        lambda job: Worker(job=job, number=1, status="dreaming"),
        lambda job: Worker(job=job, number=1, progress_percent=101),
        lambda job: JobEvent(job=job, attempt=1, level="shout", message="m"),
    ],
)
def test_the_database_refuses_other_rows_that_cannot_be(row):
    job = make_job()
    with pytest.raises(IntegrityError), transaction.atomic():
        row(job).save()


@pytest.fixture
def running(settings):
    settings.INGESTION_PROGRESS_LOST_AFTER_SECONDS = 60
    settings.INGESTION_PROGRESS_STALLED_AFTER_SECONDS = 120
    settings.INGESTION_PROGRESS_STARVED_AFTER_SECONDS = 60

    def make(*, heartbeat: int, updated: int) -> Job:
        now = timezone.now()
        return make_job(
            status=JobStatus.RUNNING,
            started_at=now - timedelta(hours=1),
            heartbeat_at=now - timedelta(seconds=heartbeat),
            updated_at=now - timedelta(seconds=updated),
        )

    return make


@pytest.mark.parametrize(
    ("heartbeat", "updated", "liveness"),
    [
        (5, 5, Liveness.WORKING),
        (5, 500, Liveness.STALLED),
        (50, 50, Liveness.SILENT),
        (50, 500, Liveness.SILENT),
        (500, 500, Liveness.LOST),
    ],
)
def test_liveness_follows_from_the_heartbeat_and_the_last_change(
    running, heartbeat, updated, liveness
):
    job = running(heartbeat=heartbeat, updated=updated)
    assert job.liveness(timezone.now()) is liveness
    assert Job.objects.stalled().exists() is (liveness is Liveness.STALLED)
    assert Job.objects.without_heartbeat().exists() is (liveness is Liveness.LOST)
    assert Job.objects.running().get() == job


def test_a_job_that_waits_for_a_service_is_lost_but_not_stalled(running):
    now = timezone.now()
    waiting = running(heartbeat=5, updated=500)
    Job.objects.update(waiting_for="the model")
    waiting.refresh_from_db()
    assert (waiting.liveness(now), waiting.awaited_service(now)) == (Liveness.WORKING, "the model")
    assert not Job.objects.stalled().exists()
    later = now + timedelta(seconds=500)
    assert (waiting.liveness(later), waiting.awaited_service(later)) == (Liveness.LOST, "")


def test_a_job_that_waits_is_queued_then_starved_and_never_lost(running):
    job = make_job()
    assert job.liveness(job.created_at + timedelta(seconds=59)) is Liveness.QUEUED
    assert job.liveness(job.created_at + timedelta(hours=9)) is Liveness.STARVED


def test_a_job_that_is_queued_again_waits_from_then_or_from_when_it_is_due():
    now = timezone.now()
    long_ago = now - timedelta(hours=1)
    job = make_job(created_at=long_ago, queued_at=long_ago)
    assert job.liveness(now) is Liveness.STARVED
    job.queued_at = now - timedelta(seconds=5)
    assert job.liveness(now) is Liveness.QUEUED
    job.queued_at, job.retry_at = long_ago, now + timedelta(seconds=5)
    assert job.liveness(now) is Liveness.QUEUED


def test_an_ended_job_has_no_liveness():
    job = make_job(status=JobStatus.FAILED, finished_at=timezone.now())
    assert job.liveness(timezone.now()) is None
    assert Job.objects.finished().get() == job
    assert not Job.objects.active().exists()


def test_each_status_has_its_jobs():
    now = timezone.now()
    for status in JobStatus:
        finished_at = now if status.is_final else None
        make_job(id=status, status=status, heartbeat_at=now, finished_at=finished_at)
    jobs = Job.objects
    found = {
        name: set(getattr(jobs, name)().values_list("pk", flat=True))
        for name in ("queued", "running", "active", "finished")
    }
    assert found == {
        "queued": {"queued"},
        "running": {"running"},
        "active": {"queued", "running"},
        "finished": {"succeeded", "failed", "cancelled", "lost"},
    }


@pytest.mark.parametrize("status", sorted(JobStatus))
def test_only_a_running_job_is_stalled_or_silent(status):
    now = timezone.now()
    long_ago = now - timedelta(hours=1)
    finished_at = now if status.is_final else None
    make_job(id="a", status=status, finished_at=finished_at, heartbeat_at=now, updated_at=long_ago)
    make_job(id="b", status=status, finished_at=finished_at, heartbeat_at=long_ago)
    expected = ([("a")], [("b")]) if status is JobStatus.RUNNING else ([], [])
    found = (Job.objects.stalled(), Job.objects.without_heartbeat())
    assert tuple([job.pk for job in jobs] for jobs in found) == expected


def test_liveness_changes_after_its_limit_and_not_at_it(running):
    job = running(heartbeat=0, updated=0)
    job.updated_at = job.heartbeat_at
    waiting = make_job()

    def at(seconds: float) -> Liveness | None:
        return job.liveness(job.heartbeat_at + timedelta(seconds=seconds))

    assert (at(45), at(45.001)) == (Liveness.WORKING, Liveness.SILENT)
    assert (at(60), at(60.001)) == (Liveness.SILENT, Liveness.LOST)
    job.heartbeat_at += timedelta(seconds=100)
    assert (at(20), at(20.001)) == (Liveness.WORKING, Liveness.STALLED)
    job.heartbeat_at = None
    assert job.liveness(job.updated_at + timedelta(seconds=60.001)) is Liveness.LOST
    limit = waiting.created_at + timedelta(seconds=60)
    assert waiting.liveness(limit) is Liveness.QUEUED
    assert waiting.liveness(limit + timedelta(seconds=0.001)) is Liveness.STARVED


def test_version_differs_by_attempt_revision_and_time():
    job = make_job()
    versions = {job.version}
    for name, value in {
        "epoch": "e",
        "revision": 7,
        "updated_at": job.updated_at + timedelta(milliseconds=1),
    }.items():
        setattr(job, name, value)
        versions.add(job.version)
    assert len(versions) == 4
    milliseconds = round(job.updated_at.timestamp() * 1000)
    assert job.version == f"e-7-{milliseconds}"


def test_rows_are_named_by_what_they_are_about():
    job = make_job(id="j")
    assert str(job) == "report.pdf (j)"
    assert str(Job(id="j", document_id="d")) == "d (j)"
    assert str(Stage(job=job, name="one", processed=2, unit="pages")) == "one: 2/? pages"
    assert str(Stage(job=job, name="one", processed=2, total=5)) == "one: 2/5"
    assert str(Worker(job=job, number=1, current_chunk="c-1")) == "worker 1: idle c-1"
    assert str(JobEvent(job=job, level="info", message="m")) == "info: m"


def test_made_id_is_no_option_of_a_command(monkeypatch):
    drawn = iter(["-KJxYw", "--json", "a-b"])
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: next(drawn))

    assert new_job_id() == "a-b"


def test_jobs_without_a_batch_are_no_batch():
    alone, first, second = make_job(), make_job(batch="monday"), make_job(batch="tuesday")
    assert list(Job.objects.of_batch("monday")) == [first]
    assert list(Job.objects.of_batch("tuesday")) == [second]
    assert alone.batch == ""
    assert not Job.objects.of_batch("").exists()


class TestRowsBy:
    def test_rows_are_those_of_a_filter(self):
        for job_id in ("a", "b", "c"):
            Job.objects.create(id=job_id, counters={"pages": 3})
        found = {job.pk: job for job in rows_by(Job, "pk", ["a", "c", "none"])}
        assert sorted(found) == ["a", "c"]
        (expected,) = Job.objects.filter(pk="a")
        fields = [field.attname for field in Job._meta.concrete_fields]
        assert [getattr(found["a"], name) for name in fields] == [
            getattr(expected, name) for name in fields
        ]

    def test_a_column_can_be_deferred(self, django_assert_num_queries):
        Job.objects.create(id="a", counters={"pages": 3}, metadata={"team": "legal"})
        (found,) = rows_by(Job, "pk", ["a"], without="metadata")
        assert found.get_deferred_fields() == {"metadata"}
        with django_assert_num_queries(1):
            assert (found.counters, found.metadata) == ({"pages": 3}, {"team": "legal"})

    def test_one_query_finds_any_number_and_none_finds_nothing(self, django_assert_num_queries):
        with django_assert_num_queries(1):
            rows_by(Job, "pk", [str(number) for number in range(500)])
        with django_assert_num_queries(0):
            assert rows_by(Job, "pk", []) == []

    def test_rows_match_all_conditions(self):
        job = Job.objects.create(id="a")
        for number, status in enumerate(["idle", "processing", "processing"], start=1):
            Worker.objects.create(job=job, number=number, status=status)
        busy = rows_by(Worker, "job", ["a"], also={"status": ["processing"], "number": [1, 2]})
        assert [worker.number for worker in busy] == [2]

    def test_locked_rows_come_in_the_order_of_their_keys(self):
        for job_id in ("b", "c", "a"):
            Job.objects.create(id=job_id)
        found = rows_by(Job, "pk", ["c", "a", "b"], lock=True)
        assert [job.pk for job in found] == ["a", "b", "c"]


class TestInsertRows:
    def test_rows_are_those_of_bulk_create(self):
        job = Job(id="a", counters={"pages": 3}, started_at=timezone.now(), metadata={"n": None})
        insert_rows([job], using="default")
        stored = Job.objects.get(pk="a")
        fields = [field.attname for field in Job._meta.concrete_fields]
        assert [getattr(stored, name) for name in fields] == [getattr(job, name) for name in fields]

    def test_a_row_with_the_same_key_gets_only_the_named_columns(self):
        job = Job.objects.create(id="a")
        Worker.objects.create(job=job, number=1, current_chunk="c-1", progress_percent=50)
        workers = [Worker(job=job, number=n, status="processing") for n in (1, 2)]
        insert_rows(workers, using="default", by=["job", "number"], columns=["status"])
        stored = Worker.objects.order_by("number").values_list("status", "current_chunk")
        assert list(stored) == [("processing", "c-1"), ("processing", "")]

    def test_many_rows_take_as_many_parameters_as_the_database_permits(self):
        job = Job.objects.create(id="a")
        insert_rows([Worker(job=job, number=n) for n in range(1000)], using="default")
        assert job.workers.count() == 1000

    def test_no_row_is_no_statement(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            insert_rows([], using="default")


def test_permission_of_an_older_database_gets_its_new_name():
    migration = importlib.import_module("ingestion_progress.migrations.0006_permission_to_retry")
    permission = Permission.objects.get(codename="start_job")
    assert permission.name == "Can start, cancel and retry jobs"
    Permission.objects.filter(codename="start_job").update(name="Can start and cancel jobs")
    migration.rename(apps, SimpleNamespace(connection=connection))
    renamed = Permission.objects.filter(name="Can start, cancel and retry jobs")
    assert list(renamed) == [permission]


def test_batches_of_an_older_database_get_their_records():
    migration = importlib.import_module("ingestion_progress.migrations.0016_records_of_batches")
    now = timezone.now()
    for number, batch in enumerate(["may", "may", "june", ""]):
        Job.objects.create(batch=batch, created_at=now + timedelta(hours=number))
    Batch.objects.create(id="june", name="kept")
    migration.create_records(apps, SimpleNamespace(connection=connection))
    assert set(Batch.objects.values_list("id", "name", "max_running")) == {
        ("may", "", 0),
        ("june", "kept", 0),
    }
    assert Batch.objects.get(pk="may").created_at == now
