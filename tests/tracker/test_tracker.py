"""The tracker as an ingestion task uses it, with a writer that writes soon."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from asgiref.sync import async_to_sync
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from ingestion_progress import attach, track
from ingestion_progress.exceptions import (
    InvalidCount,
    InvalidTransition,
    JobCancelled,
    JobNotFound,
    JobSuperseded,
    ProgressUnavailable,
    UnknownStage,
)
from ingestion_progress.models import Job, JobEvent, Worker
from ingestion_progress.models.statuses import JobStatus, StageStatus
from ingestion_progress.testing import InlineWriter
from ingestion_progress.tracker import JobTracker, contexts, fail_job, request_cancellation
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.tracker.reasons import UNEXPECTED
from ingestion_progress.tracker.writer import background_writer, use_writer
from ingestion_progress.wire.snapshots import load_snapshot
from tests.support.tracking import eventually, progress, quick_writer  # noqa: F401  (the fixture of all)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def test_leaving_the_blocks_completes_stage_and_job():
    with track("a.pdf", stages=["parsing"]) as job:
        with job.stage("parsing", total=3, unit="pages") as stage:
            assert list(stage.iterate("abc")) == ["a", "b", "c"]
    snapshot = load_snapshot(job.job_id)
    assert snapshot.job.job_status is JobStatus.SUCCEEDED
    assert (snapshot.stages[0].processed, snapshot.stages[0].unit) == (3, "pages")
    assert snapshot.overall_percent == 100


def test_an_exception_fails_stage_and_job_with_its_reason_and_is_re_raised():
    with pytest.raises(ZeroDivisionError), track("a.pdf", stages=["one", "two"]) as job:
        with job.stage("one"):
            raise ZeroDivisionError("division by zero")
    row = Job.objects.get(pk=job.job_id)
    assert (row.job_status, row.error) == (JobStatus.FAILED, "division by zero")
    assert list(row.stages.values_list("status", flat=True)) == ["error", "pending"]
    assert row.events.last().message == "Failed: division by zero"


def test_progress_is_visible_while_the_job_runs():
    with track("a.pdf", stages=["one"]) as job:
        job.stage("one", total=10).advance(4)
        eventually(lambda: progress(job.job_id).stages["one"].processed == 4)
        assert progress(job.job_id).overall_progress_percent == 40


def test_the_first_count_starts_a_stage():
    with track("a.pdf", stages=["one"]) as job:
        job.stage("one").advance()
        job.flush()
        assert progress(job.job_id).stages["one"].status == "in_progress"


def test_a_total_alone_starts_no_stage():
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one", total=5)
        stage.grow(3)
        job.flush()
        waiting = progress(job.job_id).stages["one"]
        assert (waiting.status, waiting.total, waiting.duration_ms) == ("pending", 8, 0)
        stage.set(in_flight=1)
        job.flush()
        assert progress(job.job_id).stages["one"].status == "in_progress"


def test_stages_that_never_started_are_skipped_when_the_job_succeeds():
    with track("a.pdf", stages=["one", "two"]) as job, job.stage("one"):
        pass
    assert list(progress(job.job_id).stages) == ["one"]


def test_a_skipped_stage_leaves_the_plan_at_once():
    with track("a.pdf", stages={"one": 1, "two": 99}) as job:
        with job.stage("one"):
            pass
        job.skip("two", "nothing to do")
        job.flush()
        assert progress(job.job_id).overall_progress_percent == 99.9
        assert JobEvent.objects.filter(stage="two").get().message == "Skipped: nothing to do"


def test_an_unknown_stage_is_an_error_that_lists_the_declared_ones():
    with track("a.pdf", stages=["one", "two"]) as job, pytest.raises(UnknownStage) as caught:
        job.stage("tow")
    assert str(caught.value) == "Unknown stage 'tow'. This job declares: one, two."


def test_workers_show_what_they_work_on_and_are_freed():
    with track("a.pdf", stages=["one"], workers=2) as job:
        with job.worker(2, chunk="c-17") as slot:
            slot.progress(40)
            job.set_queue_depth(7)
            job.flush()
            pool = progress(job.job_id).worker_pool
            assert (pool.active, pool.max, pool.queue_depth) == (1, 2, 7)
            assert pool.workers[1].current_chunk == "c-17"
            assert pool.workers[1].progress_percent == 40
        job.flush()
        assert progress(job.job_id).worker_pool.active == 0


def test_a_worker_that_fails_shows_its_chunk():
    with track("a.pdf", stages=["one"]) as job:
        with pytest.raises(RuntimeError), job.worker(1, chunk="c-3"):
            raise RuntimeError
        job.flush()
        assert progress(job.job_id).worker_pool.workers[0].status == "error"
        assert progress(job.job_id).worker_pool.workers[0].current_chunk == "c-3"


def test_a_worker_that_is_done_shows_no_chunk():
    with track("a.pdf", stages=["one"]) as job:
        with job.worker(1, chunk="c-3"):
            pass
        job.flush()
        worker = progress(job.job_id).worker_pool.workers[0]
        assert (worker.status, worker.current_chunk) == ("idle", None)


def test_metrics_add_up_and_unknown_names_are_the_pipelines_own():
    with track("a.pdf", stages=["one"]) as job:
        job.count(entities_total=2, tables=1)
        job.flush()
        job.count(entities_total=3, tables=4)
        job.set_metrics(relations_total=9)
    state = load_snapshot(job.job_id)
    assert (state.job.entities_total, state.job.relations_total) == (5, 9)
    assert state.state(timezone.now()).counters == {"tables": 5}


def test_a_jobs_own_counters_are_bounded():
    with track("a.pdf", stages=["one"]) as job, pytest.raises(ValueError, match="at most 50"):
        job.count(**{f"c{n}": 1 for n in range(51)})


def test_own_counters_of_several_calls_are_bounded_together():
    with track("a.pdf", stages=["one"]) as job:
        for n in range(50):
            job.count(**{f"c{n}": 1})
        with pytest.raises(ValueError, match="at most 50"):
            job.count(c50=1)
        with pytest.raises(ValueError, match="at most 50"):
            job.set_metrics(c50=1)
        job.count(c49=1)
    assert Job.objects.get().counters == {f"c{n}": 1 for n in range(49)} | {"c49": 2}


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 65])
def test_a_counter_has_a_name_that_can_be_stored(name):
    with track("a.pdf", stages=["one"]) as job, pytest.raises(ValueError, match="printable"):
        job.count(**{name: 1})


def test_counts_that_a_column_cannot_hold_are_refused():
    with track("a.pdf", stages=["one"]) as job:
        with pytest.raises(InvalidCount, match="total_chunks is 2147483648"):
            job.set_totals(chunks=2**31)
        with pytest.raises(InvalidCount, match="in_flight"):
            job.stage("one").set(in_flight=2**31)
        job.set_totals(chunks=2**31 - 1)


def test_a_recorded_error_counts_and_does_not_end_the_job():
    with track("a.pdf", stages=["one"]) as job, job.stage("one") as stage:
        stage.record_error("Page 3 has no text.", item="page 3")
    state = load_snapshot(job.job_id)
    assert state.job.job_status is JobStatus.SUCCEEDED
    assert state.job.error_count == state.stages[0].failed == 1
    event = JobEvent.objects.get(level="error")
    assert (event.stage, event.item, event.message) == ("one", "page 3", "Page 3 has no text.")


def test_a_full_log_still_counts_and_has_the_end_of_the_job(settings):
    settings.INGESTION_PROGRESS_MAX_EVENTS_PER_JOB = 3
    with track("a.pdf", stages=["one"]) as job:
        for n in range(10):
            job.log(f"line {n}", stage="one")
    row = Job.objects.get(pk=job.job_id)
    assert row.event_count == 12
    assert [event.message for event in row.events.all()] == [
        "Started",
        "line 0",
        "line 1",
        "Succeeded",
    ]


def test_a_full_log_takes_no_line_about_the_whole_job_either(settings):
    settings.INGESTION_PROGRESS_MAX_EVENTS_PER_JOB = 2
    with track("a.pdf", stages=["one"]) as job:
        for n in range(5):
            job.log(f"line {n}")
    row = Job.objects.get(pk=job.job_id)
    assert row.event_count == 7
    assert [event.message for event in row.events.all()] == ["Started", "line 0", "Succeeded"]


def test_text_that_the_database_refuses_is_cleaned_and_its_counts_are_kept():
    with track("a.pdf", stages=["one"]) as job, job.stage("one", unit="pa\0ges") as stage:
        stage.advance(3)
        job.log("odd", stage="x\0" * 100, item="\0")
    stage = load_snapshot(job.job_id).stages[0]
    assert (stage.processed, stage.unit) == (3, "pages")
    assert len(JobEvent.objects.get(message="odd").stage) == 64


def test_changes_that_cannot_be_written_do_not_hold_up_other_jobs():
    with track("bad.pdf", stages=["one"]) as bad, track("good.pdf", stages=["one"]) as good:
        with background_writer._working:  # so that both are written in one go
            with bad.buffer.change() as changes:
                changes.stages["one"].counters["processed"].base = "many"
            good.stage("one").advance()
        eventually(lambda: load_snapshot(good.job_id).stages[0].processed == 1)
        eventually(lambda: not bad.buffer.changes)
        bad.stage("one").advance(2)
    assert load_snapshot(bad.job_id).stages[0].processed == 2


@pytest.mark.skipif(
    "connection.vendor == 'sqlite'", reason="SQLite's driver has another error for it"
)
def test_changes_beside_a_failed_write_are_written_when_the_database_is_back():
    def close_once(execute, sql, params, many, context):
        if not failed:
            failed.append(sql)
            context["cursor"].close()
        return execute(sql, params, many, context)

    failed: list[str] = []
    with track("a.pdf", stages=["one"]) as first, track("b.pdf", stages=["one"]) as second:
        with background_writer._working:  # so that both are to be written in one go
            first.stage("one").advance()
            second.stage("one").advance()
            background_writer._connection.execute_wrappers.append(close_once)
        jobs = [first.job_id, second.job_id]
        eventually(lambda: all(load_snapshot(job).stages[0].processed == 1 for job in jobs))
    assert len(failed) == 1


def test_a_failed_stage_may_be_tried_again():
    with track("a.pdf", stages=["one"]) as job:
        with pytest.raises(RuntimeError), job.stage("one"):
            raise RuntimeError
        with job.stage("one") as stage:
            stage.advance()
    assert load_snapshot(job.job_id).stages[0].stage_status is StageStatus.COMPLETED


def test_a_completed_stage_stays_completed_for_a_late_starter():
    with track("a.pdf", stages=["one"]) as job:
        with job.stage("one", total=2) as stage:
            stage.advance()
        job.flush()
        with attach(job.job_id) as other:
            other.stage("one").advance()
        stage = load_snapshot(job.job_id).stages[0]
        assert (stage.stage_status, stage.processed) == (StageStatus.COMPLETED, 2)


def test_sums_of_many_threads_are_exact():
    def work(stage):
        for _ in range(1000):
            stage.advance()

    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one", total=8000)
        threads = [threading.Thread(target=work, args=[stage]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert load_snapshot(job.job_id).stages[0].processed == 8000


def test_writes_are_coalesced(django_assert_max_num_queries, settings):
    settings.INGESTION_PROGRESS_FLUSH_INTERVAL_SECONDS = 60
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one")
        stage.start()
        job.flush()
        before = Job.objects.get().revision
        with django_assert_max_num_queries(0):
            for _ in range(10_000):
                stage.advance()
        job.flush()
        assert Job.objects.get().revision - before <= 2


def test_another_thread_joins_by_id_and_leaving_does_not_end_the_job():
    with track("a.pdf", stages=["one"]) as job:
        with attach(job.job_id) as other:
            other.stage("one").advance(3)
        assert Job.objects.get().job_status is JobStatus.RUNNING
        assert [event.message for event in JobEvent.objects.all()] == ["Started"]
        stage = attach(job.job_id).stage("one")
        stage.advance(4)
        eventually(lambda: progress(job.job_id).stages["one"].processed == 7)


def test_an_exception_in_an_attach_block_is_logged_and_the_job_continues():
    with track("a.pdf", stages=["one"]) as job:
        with pytest.raises(KeyError), attach(job.job_id):
            raise KeyError("c-9")
        assert JobEvent.objects.filter(level="error").get().message == UNEXPECTED
        assert Job.objects.get().job_status is JobStatus.RUNNING


def test_attached_block_that_stops_on_request_logs_no_error():
    with track("a.pdf", stages=["one"]) as job:
        with pytest.raises(JobCancelled), attach(job.job_id) as other:
            request_cancellation(job.job_id)
            other.flush()
            other.raise_if_cancelled()
        assert not JobEvent.objects.filter(level="error").exists()
        assert Job.objects.get().error_count == 0


def test_a_stopped_process_fails_a_job_that_nothing_would_run_again():
    with pytest.raises(KeyboardInterrupt), track("a.pdf", job_id="job"):
        raise KeyboardInterrupt
    assert Job.objects.get().status == JobStatus.FAILED


def test_only_a_running_job_can_be_joined():
    with pytest.raises(JobNotFound), attach("nothing"):
        pass
    with track("a.pdf", stages=["one"], job_id="job"):
        pass
    with pytest.raises(InvalidTransition, match="is succeeded and cannot be joined"), attach("job"):
        pass


def test_a_cancelled_job_stops_at_the_next_item():
    seen = []
    with pytest.raises(JobCancelled), track("a.pdf", stages=["one"]) as job:
        for item in job.stage("one").iterate(range(10_000)):
            seen.append(item)
            if item == 2:
                request_cancellation(job.job_id)
            if item >= 2:
                time.sleep(0.01)
    assert 3 <= len(seen) < 10_000
    row = Job.objects.get()
    assert (row.job_status, row.error) == (JobStatus.CANCELLED, "Cancelled on request.")
    assert not JobEvent.objects.filter(level="error").exists()  # it was wanted


def test_a_request_to_stop_is_noticed_by_a_job_that_reports_nothing():
    with pytest.raises(JobCancelled), track("a.pdf", stages=["one"]) as job:
        request_cancellation(job.job_id)
        eventually(lambda: job.cancel_requested)
        job.raise_if_cancelled()


def test_every_thread_that_joined_notices_a_request_to_stop():
    def wait_for_request(tracker):
        eventually(lambda: tracker.cancel_requested)
        noticed.append(tracker)

    noticed: list = []
    with pytest.raises(JobCancelled), track("a.pdf", stages=["one"]) as job:
        attached = [attach(job.job_id) for _ in range(4)]
        threads = [
            threading.Thread(target=wait_for_request, args=[tracker])
            for tracker in (job, *attached)
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: all(other._buffer for other in attached))
        request_cancellation(job.job_id)
        for thread in threads:
            thread.join()
        job.raise_if_cancelled()
    assert len(noticed) == 5


def test_a_superseded_attempt_writes_nothing_more_and_gets_an_error():
    with pytest.raises(JobSuperseded), track("a.pdf", job_id="job", stages=["one"]) as old:
        old.stage("one").advance(5)
        old.flush()
        with track("a.pdf", job_id="job", restart=True) as new:
            old.stage("one").advance(100)
            eventually(lambda: old.buffer.is_over)
            new.stage("one").advance()
            with pytest.raises(JobSuperseded):
                old.raise_if_cancelled()
    assert load_snapshot("job").stages[0].processed == 1


def test_a_job_that_reports_nothing_still_gets_heartbeats():
    with track("a.pdf", stages=["one"]):
        first = Job.objects.get()
        eventually(lambda: Job.objects.get().heartbeat_at > first.heartbeat_at)
        assert Job.objects.get().revision == first.revision


def test_an_attempt_gets_heartbeats_beside_former_ones_in_the_same_process():
    attempts = [track("a.pdf", job_id="job", stages=["one"], restart=True) for _ in range(5)]
    for attempt in attempts:
        attempt.start()
    *before, newest = attempts
    first = Job.objects.get().heartbeat_at
    eventually(lambda: Job.objects.get().heartbeat_at > first)
    eventually(lambda: all(attempt.buffer.is_over for attempt in before))
    assert not newest.buffer.is_over
    newest.complete()


def test_a_request_to_stop_does_not_reach_the_former_attempt():
    old = track("a.pdf", job_id="job", stages=["one"])
    old.start()
    with pytest.raises(JobCancelled), track("a.pdf", job_id="job", restart=True) as new:
        request_cancellation("job")
        eventually(lambda: new.cancel_requested and old.buffer.is_over)
        with pytest.raises(JobSuperseded):
            old.raise_if_cancelled()
        new.raise_if_cancelled()


def test_a_job_ends_once():
    job = track("a.pdf", stages=["one"])
    job.start()
    job.fail("no good")
    with pytest.raises(InvalidTransition, match="is failed and cannot become succeeded"):
        job.complete()


def test_an_end_inside_the_block_is_kept_at_the_end_of_the_block():
    with track("a.pdf", stages=["one"]) as job:
        job.fail("The file is empty.")
    assert Job.objects.get().error == "The file is empty."


def test_a_job_that_was_deleted_cannot_end():
    job = track("a.pdf", stages=["one"])
    job.start()
    Job.objects.all().delete()
    with pytest.raises(JobSuperseded):
        job.complete()


def test_all_that_is_declared_reaches_the_job():
    declared = {"document_id": "d", "batch": "b", "total_chunks": 3, "total_images": 4}
    tracker = track("a.pdf", job_id="job", stages={"x": 2, "y": 3}, workers=2, **declared)
    with tracker as job:
        assert (job.job_id, job.document_id, job.stage_names) == ("job", "d", ("x", "y"))
        with attach("job") as other:
            assert (other.document_id, other.stage_names) == ("d", ("x", "y"))
    row = Job.objects.get()
    assert (row.pk, row.document_name, row.pool_size) == ("job", "a.pdf", 2)
    assert {name: getattr(row, name) for name in declared} == declared
    assert list(row.stages.values_list("name", "weight")) == [("x", 2), ("y", 3)]


async def test_job_that_is_started_before_its_block_starts_once():
    tracker = track("a.pdf", job_id="job", stages=["one"])
    await asyncio.to_thread(tracker.start)
    buffer = tracker.buffer
    await asyncio.to_thread(tracker.start)
    async with tracker as job:
        assert job.buffer is buffer
    assert (await Job.objects.aget()).attempt == 1


def test_counts_of_the_job_are_set_one_by_one():
    with track("a.pdf", stages=["one"], total_chunks=1, total_images=2, workers=3) as job:
        names = ("total_chunks", "total_images", "queue_depth", "pool_size")
        for act, expected in [
            (lambda: job.set_totals(chunks=5), (5, 2, 0, 3)),
            (lambda: job.set_totals(images=0), (5, 0, 0, 3)),
            (lambda: job.set_queue_depth(7), (5, 0, 7, 3)),
            (lambda: job.set_pool_size(9), (5, 0, 7, 9)),
        ]:
            act()
            job.flush()
            assert Job.objects.values_list(*names).get() == expected


def test_metrics_are_replaced_and_added_to_each_in_its_column():
    metrics = {"entities_total": 1, "relations_total": 2, "neo4j_writes": 3, "qdrant_writes": 4}
    with track("a.pdf", stages=["one"]) as job:
        job.set_metrics(**metrics, tables=5)
        job.set_metrics(**metrics, tables=5)
        job.count(**metrics)
        job.count(tables=1)
    row = Job.objects.get()
    assert {name: getattr(row, name) for name in metrics} == {n: 2 * v for n, v in metrics.items()}
    assert row.counters == {"tables": 6}


def test_worker_with_a_number_that_no_pool_has_is_refused():
    with track("a.pdf", stages=["one"]) as job:
        assert job.worker(10_000).number == 10_000
        with pytest.raises(ValueError, match="there is no 10001"):
            job.worker(10_001)
        with pytest.raises(InvalidCount, match="number is -1"):
            job.worker(-1)


def test_line_of_the_log_is_information_unless_it_says_otherwise():
    with track("a.pdf", stages=["one"]) as job:
        job.log("plain")
        job.log("all", level="warning", stage="one", item="page 3")
        job.skip("one")
    names = ("message", "level", "stage", "item")
    assert list(job.buffer.attempt.stage_names) == ["one"]
    assert list(Job.objects.get().events.values_list(*names)) == [
        ("Started", "info", "", ""),
        ("plain", "info", "", ""),
        ("all", "warning", "one", "page 3"),
        ("Skipped", "info", "one", ""),
        ("Succeeded", "info", "", ""),
    ]


def test_attempt_gets_heartbeats_until_it_ends_or_is_left():
    with track("a.pdf", job_id="job", stages=["one"]) as job:
        assert job.buffer in background_writer._live
        with attach("job") as other:
            assert other.buffer in background_writer._live
        assert other.buffer not in background_writer._live
        assert not job.has_ended
    assert job.has_ended
    assert job.buffer not in background_writer._live


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        (JobTracker.acomplete, "succeeded", ""),
        (lambda job: job.ahand_back("stopped"), "queued", "stopped"),
        (lambda job: job.afail("why"), "failed", "why"),
    ],
)
async def test_async_code_may_end_the_job_early(end, status, error):
    async with track("a.pdf", stages=["one"]) as job:
        await end(job)
        assert job.has_ended
        assert job.buffer.is_over
    row = await Job.objects.aget()
    assert (row.status, row.error) == (status, error)


class Late(InlineWriter):
    """Its database is down until a test performs what was postponed."""

    def __init__(self) -> None:
        self.is_down = False
        self.postponed: list[tuple[str, Callable[[], object]]] = []

    def call(self, write: Callable[[], object]) -> object:
        if self.is_down:
            raise TimeoutError
        return super().call(write)

    def postpone(self, job_id: str, write: Callable[[], object]) -> None:
        self.postponed.append((job_id, write))


@pytest.fixture
def late() -> Iterator[Late]:
    late = Late()
    before = use_writer(late)
    yield late
    use_writer(before)


def test_end_that_cannot_be_written_is_written_later_once(late):
    job = track("a.pdf", job_id="job", stages=["one"])
    job.start()
    late.is_down = True
    for _ in range(2):
        with pytest.raises(ProgressUnavailable):
            job.complete()
    assert job.has_ended
    ((job_id, write),) = late.postponed
    assert job_id == "job"
    late.is_down = False
    write()
    assert Job.objects.get().status == JobStatus.SUCCEEDED
    before = Job.objects.get()
    write()
    assert Job.objects.get().revision == before.revision


@pytest.mark.parametrize("is_async", [False, True])
def test_caller_learns_which_write_of_which_job_was_not_confirmed(is_async):
    class Slow(InlineWriter):
        def call(self, write):
            raise TimeoutError

        async def acall(self, write):
            raise TimeoutError

    former = use_writer(Slow())
    try:
        job = track("a.pdf", job_id="job")
        with pytest.raises(ProgressUnavailable, match="did not confirm the start of job job"):
            async_to_sync(job.astart)() if is_async else job.start()
    finally:
        use_writer(former)


def test_late_end_of_a_job_that_has_ended_otherwise_is_logged(late, caplog):
    job = track("a.pdf", job_id="job", stages=["one"])
    job.start()
    late.is_down = True
    with pytest.raises(ProgressUnavailable):
        job.complete()
    fail_job("job", "by its queue")
    late.postponed[0][1]()
    assert Job.objects.get().error == "by its queue"
    assert unrecorded_end(caplog).levelname == "WARNING"


def unrecorded_end(caplog):
    return next(each for each in caplog.records if each.message == "tracker_end_not_recorded")


def test_error_of_the_task_is_raised_if_its_end_cannot_be_recorded(caplog, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise IndexError

    monkeypatch.setattr(contexts, "finish_attempt", fail)
    with pytest.raises(ZeroDivisionError), track("a.pdf", job_id="job", stages=["one"]):
        raise ZeroDivisionError
    record = unrecorded_end(caplog)
    assert (record.job_id, record.levelname) == ("job", "ERROR")
    assert record.exc_info[0] is IndexError


def test_end_of_a_superseded_attempt_is_one_line_in_the_log(caplog):
    with pytest.raises(ZeroDivisionError), track("a.pdf", job_id="job", stages=["one"]):
        start_attempt(JobPlan("a.pdf", job_id="job"), restart=True)
        raise ZeroDivisionError
    record = unrecorded_end(caplog)
    assert (record.job_id, record.levelname, record.exc_info) == ("job", "WARNING", None)
    assert "was started again" in record.reason


def test_attached_block_whose_attempt_is_superseded_ends_quietly(caplog):
    start_attempt(JobPlan("a.pdf", job_id="job", stages=["one"]))
    with attach("job") as other:
        start_attempt(JobPlan("a.pdf", job_id="job"), restart=True)
    assert other.buffer not in background_writer._live
    record = next(each for each in caplog.records if each.message == "tracker_superseded")
    assert record.job_id == "job"


def test_attached_block_that_cannot_write_ends_and_the_writer_keeps_its_counts(caplog, monkeypatch):
    def fail(*_: object) -> None:
        raise ProgressUnavailable("job", "progress")

    start_attempt(JobPlan("a.pdf", job_id="job", stages=["one"]))
    with attach("job") as other, monkeypatch.context() as database:
        database.setattr(other, "flush", fail)
        other.count(entities_total=1)
        other.__exit__(None, None, None)
    assert other.buffer not in background_writer._live
    record = next(each for each in caplog.records if each.message == "tracker_left_unwritten")
    assert record.job_id == "job"


def test_error_of_the_task_is_raised_if_its_end_is_postponed(late, caplog):
    with pytest.raises(ZeroDivisionError), track("a.pdf", job_id="job", stages=["one"]) as job:
        late.is_down = True
        raise ZeroDivisionError
    record = next(each for each in caplog.records if each.message == "tracker_end_postponed")
    assert (record.job_id, record.levelname, record.exc_info) == ("job", "WARNING", None)
    assert job.has_ended
    late.is_down = False
    late.postponed[0][1]()
    assert Job.objects.get().status == JobStatus.FAILED


def test_job_that_has_ended_otherwise_cannot_be_handed_back():
    job = track("a.pdf", job_id="job", stages=["one"])
    job.start()
    fail_job("job", "by its queue")
    with pytest.raises(InvalidTransition, match="cannot be handed back"):
        job.hand_back("stopped")
    assert Job.objects.get().attempt == 1


def test_tracker_names_its_attempt_once_it_is_started():
    job = track("a.pdf", job_id="job", stages=["one"])
    assert not job.is_started
    job.start()
    assert job.is_started
    assert job.epoch == Job.objects.get().epoch
    job.start()
    assert Job.objects.get().attempt == 1
    job.complete()


async def test_async_code_uses_the_same_names():
    async with track("a.pdf", stages=["one"]) as job:
        async with job.stage("one") as stage:
            async for _ in stage.aiterate(range(3)):
                await asyncio.sleep(0)
        async with attach(job.job_id) as other, other.worker(1, chunk="c"):
            other.count(entities_total=1)
        await job.aflush()
    row = await Job.objects.aget()
    assert (row.job_status, row.entities_total) == (JobStatus.SUCCEEDED, 1)


async def test_an_exception_in_async_code_fails_the_job():
    with pytest.raises(ValueError, match="bad"):
        async with track("a.pdf", stages=["one"]) as job, job.stage("one"):
            raise ValueError("bad")
    assert (await Job.objects.aget(pk=job.job_id)).error == "bad"


@pytest.mark.skipif(
    "connection.vendor == 'sqlite'", reason="SQLite: see the tests with a separate file"
)
def test_progress_shows_while_the_callers_transaction_is_open_and_survives_its_rollback():
    class Rollback(Exception):
        pass

    def look():
        seen.append(progress("job").stages["one"].processed)
        connection.close()

    seen: list[int] = []
    with pytest.raises(Rollback), transaction.atomic():
        Worker.objects.count()
        tracker = track("a.pdf", job_id="job", stages=["one"])
        tracker.start()
        tracker.stage("one").advance(3)
        tracker.flush()
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        raise Rollback
    assert seen == [3]
    assert progress("job").stages["one"].processed == 3
    tracker.complete()


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="only SQLite locks the whole file")
def test_inside_a_sqlite_transaction_the_tracker_writes_on_the_callers_connection():
    with transaction.atomic():
        with track("a.pdf", stages=["one"]) as job, job.stage("one") as stage:
            stage.advance(3)
        assert progress(job.job_id).stages["one"].processed == 3
    assert progress(job.job_id).overall_progress_percent == 100


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="only SQLite locks the whole file")
def test_an_exception_in_an_attach_block_is_re_raised_although_its_transaction_is_broken():
    with track("a.pdf", stages=["one"]) as job:
        with pytest.raises(IntegrityError), transaction.atomic(), attach(job.job_id) as other:
            other.stage("one").advance()
            Job.objects.create(pk=job.job_id)
        eventually(lambda: load_snapshot(job.job_id).stages[0].processed == 1)
