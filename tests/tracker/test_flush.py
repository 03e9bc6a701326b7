"""A flush writes many jobs in few statements, and no job holds up the others."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from ingestion_progress import track
from ingestion_progress.models import Checkpoint, Job, JobError, JobEvent, Stage, Worker
from ingestion_progress.models.statuses import JobStatus, StageStatus, WorkerStatus
from ingestion_progress.tracker import buffer as buffer_module
from ingestion_progress.tracker import samples
from ingestion_progress.tracker import unwritten as unwritten_module
from ingestion_progress.tracker.buffer import Buffer, flush_all
from ingestion_progress.tracker.changes import WorkerChange
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.tracker.sql import renew_heartbeats
from ingestion_progress.tracker.stages import StageTracker
from ingestion_progress.tracker.unwritten import UnwrittenBuffers
from ingestion_progress.tracker.writer import background_writer
from tests.support.tracking import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

STAGES = [f"stage {n}" for n in range(8)]


class Quiet:
    """A writer that writes nothing."""

    def notice(self, buffer: Buffer, *, is_urgent: bool = False) -> None: ...


def buffer_of(job_id: str) -> Buffer:
    attempt = start_attempt(JobPlan("a.pdf", job_id=job_id, stages=STAGES, workers=2))
    return Buffer(attempt, Quiet())


def fill(buffer: Buffer, times: int) -> None:
    """Changes of every kind, in so many stages, slots, keys, lines and groups."""
    for n in range(times):
        stage = StageTracker(buffer, STAGES[n])
        stage.advance(3)
        stage.set(total=9)
        stage.advance(key=n)
        stage.record_error(ValueError("torn" + "n" * n), item="page 1")
        with buffer.change() as changes:
            changes.workers[n + 1] = WorkerChange(status=WorkerStatus.PROCESSING)
            changes.counters["entities_total"].delta += 1
            changes.own_counters[f"tables {n}"].delta += 1


def statements_to_flush(*buffers: Buffer) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert flush_all(buffers) == set()
    return len(queries)


def test_number_of_statements_does_not_depend_on_what_changed_nor_on_the_number_of_jobs(
    monkeypatch,
):
    monkeypatch.setattr(samples, "is_due", lambda *args: True)
    one, all_of_one, *many = [buffer_of(f"job-{n}") for n in range(7)]
    fill(one, 1)
    of_one = statements_to_flush(one)
    fill(all_of_one, len(STAGES))
    assert statements_to_flush(all_of_one) == of_one
    for buffer in many:
        fill(buffer, 2)
    assert statements_to_flush(*many) == of_one


def test_jobs_that_are_all_there_are_read_once():
    buffers = [buffer_of(f"job-{n}") for n in range(3)]
    for buffer in buffers:
        fill(buffer, 1)
    with CaptureQueriesContext(connection) as queries:
        flush_all(buffers)
    (read,) = [each["sql"] for each in queries if 'FROM "ingestion_progress_job" ' in each["sql"]]
    assert 'ORDER BY "ingestion_progress_job"."id" ASC' in read  # two who lock cannot deadlock


def test_flush_of_several_jobs_writes_to_each_what_is_its_own():
    buffers = [buffer_of(f"job-{n}") for n in range(3)]
    for n, buffer in enumerate(buffers, start=1):
        fill(buffer, n)
    flush_all(buffers)
    for n in (1, 2, 3):
        job = Job.objects.get(pk=f"job-{n - 1}")
        assert (job.entities_total, job.error_count, job.failed_items) == (n, n, n)
        assert job.counters == {f"tables {i}": 1 for i in range(n)}
        assert job.revision == 1
        assert job.event_count == JobEvent.objects.filter(job=job).count() == 1 + n
        stages = list(Stage.objects.filter(job=job).values_list("processed", "total", "failed"))
        assert stages == [(4, 9, 1)] * n + [(0, 0, 0)] * (len(STAGES) - n)
        assert Checkpoint.objects.filter(job=job).count() == n
        assert JobError.objects.filter(job=job).count() == n
        busy = Worker.objects.filter(job=job, status=WorkerStatus.PROCESSING)
        assert busy.count() == n


def test_two_buffers_of_one_attempt_add_up_in_one_flush():
    first = buffer_of("job")
    second = Buffer(first.attempt, Quiet())
    fill(first, 2)
    fill(second, 2)
    flush_all([first, second])
    job = Job.objects.get()
    # Each key counts once, and so do the items that failed without one.
    assert (job.entities_total, job.revision) == (4, 2)
    assert Stage.objects.get(name=STAGES[0]).processed == 3 + 3 + 1
    assert list(JobError.objects.values_list("count", flat=True)) == [2, 2]


def test_buffers_of_locked_jobs_stay_unwritten_and_are_not_counted(monkeypatch):
    buffers = [Buffer(start_attempt(JobPlan("a.pdf")), background_writer) for _ in range(3)]
    unwritten = UnwrittenBuffers()
    assert unwritten.add(buffers)
    assert not unwritten.add(buffers[:1])
    monkeypatch.setattr(unwritten_module, "flush_all", lambda taken: {buffers[0]})
    assert unwritten.flush() == 2
    assert unwritten.all() == {buffers[0]}


def test_groups_are_bounded(monkeypatch):
    monkeypatch.setattr(buffer_module, "MAX_JOBS_PER_TRANSACTION", 2)
    buffers = [buffer_of(f"job-{n}") for n in range(5)]
    for buffer in buffers:
        fill(buffer, 1)
    flush_all(buffers)
    assert set(Job.objects.values_list("entities_total", flat=True)) == {1}


def test_changes_that_are_refused_hold_up_no_other_job(caplog):
    good, bad, other = buffers = [buffer_of(name) for name in ("good", "bad", "other")]
    for buffer in buffers:
        fill(buffer, 1)
    with bad.change() as changes:
        changes.counters["total_chunks"].delta = 2**70
    assert flush_all(buffers) == set()
    written = Job.objects.filter(entities_total=1).values_list("pk", flat=True)
    assert set(written) == {"good", "other"}
    (record,) = [each for each in caplog.records if each.message == "tracker_changes_refused"]
    assert record.job_id == "bad"
    assert not any(each.take() for each in (good, bad, other))


def test_superseded_attempt_is_left_out_of_a_flush_of_several():
    old, new = buffer_of("old"), buffer_of("new")
    fill(old, 1)
    fill(new, 1)
    start_attempt(JobPlan("a.pdf", job_id="old"), restart=True)
    flush_all([old, new])
    assert (old.is_over, new.is_over) == (True, False)
    assert Job.objects.get(pk="old").entities_total == 0
    assert Job.objects.get(pk="new").entities_total == 1


def test_status_that_another_process_wrote_later_stays():
    buffer = buffer_of("job")
    Stage.objects.filter(name=STAGES[0]).update(
        status=StageStatus.COMPLETED, started_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    StageTracker(buffer, STAGES[0]).advance(2)
    flush_all([buffer])
    stage = Stage.objects.get(name=STAGES[0])
    assert (stage.status, stage.processed, stage.started_at.year) == ("completed", 2, 2026)


@contextlib.contextmanager
def held(job_id: str) -> Iterator[None]:
    """Somebody else has locked the row of the job, and does nothing."""
    is_locked, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Job.objects.select_for_update().get(pk=job_id)
            is_locked.set()
            is_over.wait(30)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_locked.wait(60)
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite locks the whole file")
class TestHeldRow:
    def test_flush_leaves_it_pending_and_writes_the_others(self):
        locked, free = buffer_of("locked"), buffer_of("free")
        fill(locked, 1)
        fill(free, 1)
        with held("locked"):
            assert flush_all([locked, free]) == {locked}
            assert Job.objects.get(pk="free").entities_total == 1
        assert flush_all([locked, free]) == set()
        assert Job.objects.get(pk="locked").entities_total == 1

    def test_writer_keeps_its_buffer_and_no_other(self):
        locked, free = buffer_of("locked"), buffer_of("free")
        fill(locked, 1)
        fill(free, 1)
        unwritten = UnwrittenBuffers()
        unwritten.add([locked, free])
        with held("locked"):
            assert unwritten.flush() == 1
        assert unwritten.all() == {locked}
        assert unwritten.flush() == 1
        assert not unwritten

    def test_heartbeats_reach_the_others(self):
        locked, free = buffer_of("locked"), buffer_of("free")
        past = datetime(2026, 1, 1, tzinfo=UTC)
        Job.objects.update(heartbeat_at=past)
        with held("locked"):
            learned = renew_heartbeats([locked.attempt, free.attempt])
        assert len(learned) == 2
        assert list(Job.objects.filter(heartbeat_at=past).values_list("pk", flat=True)) == [
            "locked"
        ]

    def test_end_that_waits_for_it_holds_up_neither_counts_nor_ends_of_others(self, settings):
        settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = 20
        with track("a.pdf", job_id="free", stages=["one"]) as free:
            locked = track("a.pdf", job_id="locked", stages=["one"])
            locked.start()
            ending = threading.Thread(target=locked.complete)
            with held("locked"):
                ending.start()
                eventually(lambda: background_writer._calls)
                free.stage("one").advance()
                eventually(lambda: Stage.objects.get(job="free").processed == 1)
                free.flush()
                assert ending.is_alive()
            ending.join(60)
        assert set(Job.objects.values_list("status", flat=True)) == {JobStatus.SUCCEEDED}
