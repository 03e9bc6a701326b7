from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import DataError, InternalError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.feed import queries
from ingestion_progress.feed.job_state import NoState
from ingestion_progress.feed.queries import LastSeen, Scope, read_changes
from ingestion_progress.models import Job, Stage, Worker
from ingestion_progress.models.statuses import JobStatus, Liveness
from ingestion_progress.wire.frames import missing_frame
from ingestion_progress.wire.snapshots import load_snapshots

pytestmark = pytest.mark.django_db


def make_jobs(count: int) -> list[str]:
    now = timezone.now()
    jobs = Job.objects.bulk_create(
        Job(id=f"job-{n}", status=JobStatus.RUNNING, started_at=now, heartbeat_at=now)
        for n in range(count)
    )
    Stage.objects.bulk_create(Stage(job=job, name="parsing", position=0, weight=1) for job in jobs)
    Worker.objects.bulk_create(Worker(job=job, number=1) for job in jobs)
    return [job.pk for job in jobs]


def known(job_id: str, *, is_paused: bool = False) -> LastSeen:
    job = Job.objects.get(pk=job_id)
    return LastSeen(
        epoch=job.epoch,
        revision=job.revision,
        liveness=job.liveness(timezone.now()),
        is_paused=is_paused,
    )


def error_of(body: bytes) -> dict[str, str]:
    assert body.startswith(b"event: error\n")
    data: dict[str, str] = json.loads(body.split(b"data: ")[1])
    return data


def test_quiet_tick_is_one_query_however_many_jobs(django_assert_num_queries):
    job_ids = make_jobs(200)
    seen = {job_id: known(job_id) for job_id in job_ids}

    with django_assert_num_queries(1):
        changes = read_changes(seen, timezone.now())

    assert not changes.states


def test_tick_with_changes_is_three_queries_however_many_jobs(django_assert_num_queries):
    job_ids = make_jobs(200)

    with django_assert_num_queries(3):
        changes = read_changes(dict.fromkeys(job_ids), timezone.now())

    assert set(changes.states) == set(job_ids)


def test_queries_are_split_only_by_the_parameter_limit(django_assert_num_queries, monkeypatch):
    job_ids = make_jobs(25)
    monkeypatch.setattr(type(connection.features), "max_query_params", 10)

    with django_assert_num_queries(9):
        changes = read_changes(dict.fromkeys(job_ids), timezone.now())

    assert len(changes.states) == 25


def test_only_changed_jobs_are_loaded():
    job_ids = make_jobs(3)
    seen = {job_id: known(job_id) for job_id in job_ids}
    Job.objects.filter(pk="job-1").update(revision=7)

    assert list(read_changes(seen, timezone.now()).states) == ["job-1"]


def test_new_attempt_is_a_change_even_at_the_same_revision():
    make_jobs(1)
    seen = {"job-0": known("job-0")}
    Job.objects.update(epoch="another")

    assert list(read_changes(seen, timezone.now()).states) == ["job-0"]


def test_lost_heartbeat_is_a_change_without_a_write():
    make_jobs(1)
    seen = {"job-0": known("job-0")}

    changes = read_changes(seen, timezone.now() + timedelta(seconds=61))

    assert changes.states["job-0"].liveness is Liveness.LOST
    assert b'"liveness":"lost"' in changes.states["job-0"].single_frame.body


def test_paused_job_is_loaded_only_for_its_end():
    make_jobs(1)
    seen: dict[str, LastSeen | None] = {"job-0": known("job-0", is_paused=True)}
    Job.objects.update(revision=7)
    assert not read_changes(seen, timezone.now()).states

    Job.objects.update(revision=8, status=JobStatus.FAILED, finished_at=timezone.now())

    assert read_changes(seen, timezone.now()).states["job-0"].single_frame.is_final


def test_vanished_job_is_not_found():
    make_jobs(1)
    seen: dict[str, LastSeen | None] = {"job-0": known("job-0")}
    Job.objects.all().delete()

    frame = read_changes(seen, timezone.now()).states["job-0"].single_frame

    assert frame.is_final
    assert error_of(frame.body) == {
        "message": "Job not found: job-0",
        "job_id": "job-0",
        "code": "not_found",
    }


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ingestion_progress_job SET counters = '\"text\"' WHERE id = 'job-1'",
        "UPDATE ingestion_progress_job SET counters = '{\"a\": \"b\"}' WHERE id = 'job-1'",
    ],
)
def test_corrupt_row_breaks_only_its_own_job(damage):
    job_ids = make_jobs(5)
    with connection.cursor() as cursor:
        cursor.execute(damage)

    changes = read_changes(dict.fromkeys(job_ids), timezone.now())

    assert list(changes.broken) == ["job-1"]
    frame = changes.states["job-1"].single_frame
    assert frame.is_final
    assert error_of(frame.body) == {
        "message": ErrorCode.STREAM_ERROR.message,
        "job_id": "job-1",
        "code": "stream_error",
    }
    assert not any(
        changes.states[job_id].single_frame.is_final for job_id in job_ids if job_id != "job-1"
    )


@pytest.mark.database
def test_value_that_the_driver_cannot_read_breaks_only_its_own_job():
    damage = {
        "sqlite": "error = CAST(x'ff' AS TEXT)",  # no UTF-8
        "postgresql": "heartbeat_at = 'infinity'",
    }[connection.vendor]
    job_ids = make_jobs(5)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE ingestion_progress_job SET {damage} WHERE id = 'job-2'")

    changes = read_changes(dict.fromkeys(job_ids), timezone.now())

    assert list(changes.broken) == ["job-2"]
    assert changes.states["job-2"].single_frame.is_final
    assert len(changes.states) == 5


def test_row_that_its_own_field_cannot_read_breaks_only_its_own_job():
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite stores it")
    job_ids = make_jobs(5)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute("UPDATE ingestion_progress_job SET counters = '{' WHERE id = 'job-3'")
        cursor.execute("PRAGMA ignore_check_constraints = OFF")

    changes = read_changes(dict.fromkeys(job_ids), timezone.now())

    assert list(changes.broken) == ["job-3"]
    assert len(changes.states) == 5


def test_failing_database_breaks_no_job(monkeypatch):
    def fail(*args):
        raise OperationalError("gone")

    monkeypatch.setattr(queries, "load_snapshots", fail)
    make_jobs(2)

    with pytest.raises(OperationalError):
        read_changes({"job-0": None, "job-1": None}, timezone.now())


def test_end_that_was_sent_is_not_sent_again_while_the_job_is_paused():
    make_jobs(1)
    Job.objects.update(revision=8, status=JobStatus.FAILED, finished_at=timezone.now())
    changes = read_changes({"job-0": known("job-0", is_paused=True)}, timezone.now())

    assert not changes.states
    assert not changes.held_back


def test_change_of_a_paused_job_is_held_back_and_its_liveness_alone_is_none():
    make_jobs(2)
    seen = {job_id: known(job_id, is_paused=True) for job_id in ("job-0", "job-1")}
    Job.objects.filter(pk="job-1").update(revision=7)
    changes = read_changes(seen, timezone.now() + timedelta(seconds=61))

    assert (changes.states, changes.held_back) == ({}, {"job-1"})


def test_last_seen_has_every_field_of_its_state():
    make_jobs(1)
    Job.objects.update(batch="b", revision=4)
    state = read_changes({"job-0": None}, timezone.now()).states["job-0"]
    epoch = state.snapshot.job.epoch

    assert LastSeen.of(state, is_paused=True) == LastSeen(
        epoch=epoch, revision=4, liveness=Liveness.WORKING, is_paused=True, batch="b"
    )
    assert not LastSeen.of(state).is_paused
    missing = LastSeen.of(NoState(missing_frame("a"), batch="b"), is_paused=True)
    assert (missing.is_missing, missing.is_paused, missing.batch) == (True, False, "b")
    assert not LastSeen.of(state).is_missing


def test_missing_job_is_found_once_with_the_batch_it_had():
    make_jobs(1)
    Job.objects.update(batch="b")
    seen = {"job-0": replace(known("job-0"), batch="b")}
    Job.objects.all().delete()
    gone = read_changes(seen, timezone.now()).states["job-0"]

    assert gone.batch == "b"
    assert not read_changes({"job-0": LastSeen.of(gone)}, timezone.now()).states


@pytest.mark.parametrize(
    ("scope", "encoded"),
    [
        (Scope(), (True, False)),
        (Scope(single={"job-0"}, multi={"job-0"}), (True, True)),
        (Scope(single=(), multi=None), (False, True)),
        (Scope(single={"other"}, multi={"other"}), (False, False)),
    ],
)
def test_reading_thread_encodes_the_frames_that_are_needed(scope, encoded):
    make_jobs(1)
    state = read_changes({"job-0": None}, timezone.now(), scope).states["job-0"]

    assert (state._single_frame is not None, state.has_multi_frame) == encoded


class TestScan:
    @pytest.mark.database
    def test_it_finds_active_jobs_recent_ends_and_named_jobs(self):
        make_jobs(6)
        now = timezone.now()
        for n, age in ((1, 10), (2, 59), (3, 61), (4, 3600), (5, 5)):
            ended_at = now - timedelta(seconds=age)
            Job.objects.filter(pk=f"job-{n}").update(
                status=JobStatus.FAILED, started_at=ended_at, finished_at=ended_at
            )
        scope = Scope(ended_since=now - timedelta(seconds=60), sent={"job-5": known("job-5")})
        changes = read_changes({"job-4": None, "nobody": None}, now, scope)

        assert set(changes.states) == {"job-0", "job-1", "job-2", "job-4", "nobody"}
        assert set(read_changes({}, now).states) == set()

    @pytest.mark.database
    @pytest.mark.parametrize("is_final", [False, True])
    def test_unreadable_job_is_read_again_only_if_it_is_named(self, is_final):
        make_jobs(3)
        now = timezone.now()
        status, ended_at = (JobStatus.FAILED, now) if is_final else (JobStatus.RUNNING, None)
        bad = Job.objects.filter(pk__in=["job-0", "job-1"])
        bad.update(status=status, finished_at=ended_at, counters={"pages": "many"})
        scope = Scope(ended_since=now - timedelta(seconds=60), broken=["job-0"])

        assert list(read_changes({}, now, scope).broken) == ["job-1"]
        bad.filter(pk="job-1").update(counters={})
        assert list(read_changes({}, now, scope).broken) == []
        assert list(read_changes({"job-0": None}, now, scope).broken) == ["job-0"]

    @pytest.mark.database
    def test_it_reads_the_active_and_ended_jobs_of_its_batches_only(self):
        make_jobs(6)
        now = timezone.now()
        for n, batch in enumerate(["a", "b", "", "a", "b", ""]):
            Job.objects.filter(pk=f"job-{n}").update(batch=batch)
        Job.objects.filter(pk__in=["job-3", "job-4", "job-5"]).update(
            status=JobStatus.FAILED, started_at=now, finished_at=now
        )
        since = now - timedelta(seconds=60)

        def read(batches: set[str] | None) -> set[str]:
            scope = Scope(ended_since=since, batches=batches)
            return set(read_changes({}, now, scope).states)

        assert read({"a"}) == {"job-0", "job-3"}
        assert read({"a", "b"}) == {"job-0", "job-1", "job-3", "job-4"}
        assert len(read(None)) == 6
        named = Scope(ended_since=since, batches={"a"})
        assert set(read_changes({"job-2": None}, now, named).states) == {"job-0", "job-2", "job-3"}

    @pytest.mark.database
    def test_it_finds_only_the_newest_of_many_ends(self, monkeypatch):
        monkeypatch.setattr(queries, "MAX_ENDED", 1)
        now = timezone.now()
        for age in (2, 1, 3):
            at = now - timedelta(seconds=age)
            Job.objects.create(id=f"job-{age}", status=JobStatus.SUCCEEDED, finished_at=at)

        changes = read_changes({}, now, Scope(ended_since=now - timedelta(minutes=1)))

        assert set(changes.states) == {"job-1"}

    def test_it_uses_an_index_for_each_of_its_parts(self):
        scope = Scope(ended_since=timezone.now(), batches={"a"})
        with transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":  # which reads few rows in sequence
                cursor.execute("SET LOCAL enable_seqscan = off")
            with CaptureQueriesContext(connection) as queries:
                read_changes({}, timezone.now(), scope)
            explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
            cursor.execute(explain + queries[0]["sql"])
            plan = "\n".join(str(row) for row in cursor.fetchall())
        assert "Seq Scan" not in plan
        assert "SCAN ingestion_progress_job" not in plan

    def test_active_jobs_need_no_parameters(self, monkeypatch, django_assert_num_queries):
        make_jobs(23)
        now = timezone.now()
        seen = {job_id: known(job_id) for job_id in Job.objects.values_list("pk", flat=True)}
        ended_at = now - timedelta(hours=1)
        Job.objects.filter(pk__in=["job-0", "job-1"]).update(
            status=JobStatus.FAILED, started_at=ended_at, finished_at=ended_at
        )
        seen |= {job_id: known(job_id) for job_id in ("job-0", "job-1")}
        monkeypatch.setattr(type(connection.features), "max_query_params", 12)

        with django_assert_num_queries(1):
            read_changes(seen, now, Scope(ended_since=now))
        with django_assert_num_queries(2):  # one for each of the two that have ended
            read_changes(seen, now, Scope(ended_since=now, broken=["other"]))

    def test_queries_for_further_jobs_do_not_scan_again(self, monkeypatch):
        scans = []
        read = queries._Poll.read

        def noted(poll, asked, *, is_scan):
            scans.append(is_scan)
            read(poll, asked, is_scan=is_scan)

        monkeypatch.setattr(queries._Poll, "read", noted)
        monkeypatch.setattr(type(connection.features), "max_query_params", 12)
        now = timezone.now()
        unknown = {f"unknown-{number}": None for number in range(30)}
        read_changes(unknown, now, Scope(ended_since=now))
        assert scans[0] is True
        assert len(scans) > 2
        assert not any(scans[1:])


@pytest.mark.parametrize(
    ("error", "is_about_a_row"),
    [
        (DataError("out of range"), True),
        (InternalError("invalid page"), True),
        (OperationalError("Could not decode to UTF-8"), True),
        (OperationalError("gone"), False),
        (ValueError("any"), True),
    ],
)
def test_errors_of_a_row_break_its_job_and_others_are_raised(monkeypatch, error, is_about_a_row):
    def fail(jobs):
        if any(job.pk == "job-1" for job in jobs):
            raise error
        return load_snapshots(jobs)

    monkeypatch.setattr(queries, "load_snapshots", fail)
    make_jobs(3)
    asked = dict.fromkeys(("job-0", "job-1", "job-2"))
    if is_about_a_row:
        assert read_changes(asked, timezone.now()).broken == {"job-1": error}
    else:
        with pytest.raises(OperationalError):
            read_changes(asked, timezone.now())
