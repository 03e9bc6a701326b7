"""One stage as an ingestion task sees it: what is counted when, and how it starts and ends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async

from ingestion_progress import track
from ingestion_progress.exceptions import InvalidCount, JobCancelled
from ingestion_progress.models import Job, JobError, JobEvent, Stage, Worker
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import JobStatus, StageStatus, WorkerStatus
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import request_cancellation, transitions
from ingestion_progress.wire.snapshots import load_snapshots

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def written_at_once():
    with synchronous_tracking():
        yield


@pytest.fixture
def clock(monkeypatch):
    """Moves on by a second with each reading of a stage's clock; returns the readings."""
    readings = [transitions.database_now()]

    def database_now():
        readings.append(readings[-1] + timedelta(seconds=1))
        return readings[-1]

    monkeypatch.setattr(transitions, "database_now", database_now)
    return readings


def row() -> Stage:
    return Stage.objects.get(name="one")


def processed() -> int:
    return row().processed


async def async_items(count):
    for number in range(count):
        yield number


@pytest.mark.usefixtures("written_at_once")
class TestIteration:
    def test_item_counts_once_its_work_is_done(self):
        with track("a.pdf", stages=["one"]) as job:
            seen = [processed() for _ in job.stage("one").iterate(range(3))]
            assert seen == [0, 1, 2]
            assert processed() == 3

    def test_item_whose_work_fails_does_not_count(self):
        with pytest.raises(RuntimeError), track("a.pdf", stages=["one"]) as job:
            for item in job.stage("one").iterate(range(3)):
                if item == 2:
                    raise RuntimeError
        assert (processed(), row().total) == (2, 3)

    @pytest.mark.parametrize("items", [range, async_items])
    async def test_item_of_async_code_counts_once_its_work_is_done(self, items):
        seen = []
        async with track("a.pdf", stages=["one"]) as job:
            async for _ in job.stage("one").aiterate(items(3)):
                seen.append(await sync_to_async(processed)())  # noqa: PERF401
            assert seen == [0, 1, 2]
            assert await sync_to_async(processed)() == 3

    def test_cancellation_ends_it_before_the_next_item(self):
        seen = []
        with pytest.raises(JobCancelled), track("a.pdf", stages=["one"]) as job:
            for item in job.stage("one").iterate(range(10)):
                seen.append(item)
                if item == 2:
                    request_cancellation(job.job_id)
        assert seen == [0, 1, 2]
        assert (processed(), Job.objects.get().job_status) == (3, JobStatus.CANCELLED)

    @pytest.mark.parametrize("items", [range, async_items])
    async def test_cancellation_ends_it_in_async_code_too(self, items):
        seen = []
        with pytest.raises(JobCancelled):
            async with track("a.pdf", stages=["one"]) as job:
                async for item in job.stage("one").aiterate(items(10)):
                    seen.append(item)
                    if item == 2:
                        await sync_to_async(request_cancellation)(job.job_id)
        assert seen == [0, 1, 2]
        assert (await Job.objects.aget()).job_status is JobStatus.CANCELLED


@pytest.mark.usefixtures("flush_only")
class TestInFlight:
    def test_error_that_the_task_handles_gives_them_back(self):
        with track("a.pdf", stages=["one"]) as job:
            stage = job.stage("one")
            with pytest.raises(RuntimeError), stage.in_flight(2):
                job.flush()
                assert row().in_flight == 2
                raise RuntimeError
            job.flush()
            assert row().in_flight == 0
            assert row().stage_status is StageStatus.IN_PROGRESS


def shown_stages() -> dict[str, str]:
    return {each.name: each.shown_status(is_over=True).value for each in Stage.objects.all()}


class TestOrigin:
    """Of the stages that end with their job, only the one with the error shows an error."""

    def test_error_is_one_of_the_innermost_stage(self):
        with pytest.raises(RuntimeError), track("a.pdf", stages=["one", "two", "three"]) as job:
            with job.stage("one"), job.stage("two"):
                raise RuntimeError
        assert shown_stages() == {"one": "stopped", "two": "error", "three": "not_run"}

    def test_error_of_an_item_is_one_of_its_stage_whatever_blocks_it_leaves_first(self):
        with pytest.raises(RuntimeError), track("a.pdf", stages=["one", "two"]) as job:
            with job.stage("one") as outer, job.stage("two"), outer.in_flight():
                raise RuntimeError
        assert shown_stages() == {"one": "error", "two": "stopped"}

    def test_error_outside_of_any_stage_is_one_of_none(self):
        with pytest.raises(RuntimeError), track("a.pdf", stages=["one"]) as job:
            job.stage("one").advance()
            raise RuntimeError
        assert shown_stages() == {"one": "stopped"}

    def test_cancellation_is_no_error_of_a_stage(self):
        with pytest.raises(JobCancelled), track("a.pdf", stages=["one"]) as job:
            request_cancellation(job.job_id)
            with job.stage("one") as stage, stage.in_flight():
                job.flush()
                job.raise_if_cancelled()
        assert shown_stages() == {"one": "stopped"}
        (state,) = [
            each.state(database_now()) for each in load_snapshots(Job.objects.all()).values()
        ]
        assert state.stopped_stages == ["one"]

    def test_stage_that_goes_on_after_an_interruption_has_an_error_of_its_own(self):
        with pytest.raises(ValueError), track("a.pdf", stages=["one"]) as job:  # noqa: PT011
            with pytest.raises(JobCancelled), job.stage("one"):
                raise JobCancelled(job.job_id)
            job.flush()
            with job.stage("one"):
                job.flush()
                raise ValueError
        assert shown_stages() == {"one": "error"}


class TestLife:
    @pytest.mark.parametrize("is_flushed_between", [True, False])
    def test_count_after_a_failure_starts_the_stage_again(
        self, flush_only, clock, is_flushed_between
    ):
        with track("a.pdf", stages=["one"]) as job:
            stage = job.stage("one")
            stage.start()
            stage.fail("unreadable")
            if is_flushed_between:
                job.flush()
                assert row().stage_status is StageStatus.ERROR
                assert (row().started_at, row().finished_at) == (clock[1], clock[2])
            stage.advance()
            job.flush()
            again = row()
            assert (again.stage_status, again.processed) == (StageStatus.IN_PROGRESS, 1)
            assert (again.started_at, again.finished_at) == (clock[1], None)

    def test_start_and_end_in_one_flush_are_both_kept(self, flush_only, clock):
        with track("a.pdf", stages=["one"]) as job:
            with job.stage("one") as stage:
                stage.advance(3)
            job.flush()
            done = row()
            assert (done.stage_status, done.processed) == (StageStatus.COMPLETED, 3)
            assert (done.started_at, done.finished_at) == (clock[1], clock[2])

    def test_start_and_end_in_two_flushes_are_both_kept(self, flush_only, clock):
        with track("a.pdf", stages=["one"]) as job:
            with job.stage("one"):
                job.flush()
            job.flush()
            assert (row().started_at, row().finished_at) == (clock[1], clock[2])

    @pytest.mark.parametrize("writer", ["written_at_once", "flush_only"])
    def test_stage_that_is_skipped_in_its_own_block_stays_skipped(self, request, writer):
        request.getfixturevalue(writer)
        with track("a.pdf", stages=["one", "two"]) as job:
            with job.stage("one") as stage:
                stage.skip("no images")
            job.flush()
            assert row().stage_status is StageStatus.SKIPPED

    def test_stage_that_was_skipped_before_a_failed_write_stays_skipped(self, flush_only):
        with track("a.pdf", stages=["one", "two"]) as job:
            stage = job.stage("one")
            stage.skip("no images")
            taken = job.buffer.take()
            stage.complete()
            job.buffer.put_back(taken)
            job.flush()
            assert row().stage_status is StageStatus.SKIPPED


@pytest.mark.usefixtures("written_at_once")
class TestStart:
    @pytest.mark.parametrize(
        ("act", "is_started"),
        [
            (lambda stage: stage.start(), True),
            (lambda stage: stage.advance(0), True),
            (lambda stage: list(stage.iterate([])), True),
            (lambda stage: stage.set(processed=1), True),
            (lambda stage: stage.set(in_flight=1), True),
            (lambda stage: stage.in_flight().__enter__(), True),
            (lambda stage: stage.__enter__(), True),
            (lambda stage: stage.set(processed=0, total=3, in_flight=0), False),
            (lambda stage: stage.grow(3), False),
            (lambda stage: stage.describe(total=3, unit="pages"), False),
            (lambda stage: stage.record_error("m"), False),
        ],
    )
    def test_work_starts_a_stage_and_a_total_does_not(self, act, is_started):
        with track("a.pdf", stages=["one"]) as job:
            act(job.stage("one"))
            expected = StageStatus.IN_PROGRESS if is_started else StageStatus.PENDING
            assert row().stage_status is expected
            assert (row().started_at is not None) is is_started

    async def test_async_iterable_without_items_starts_it_too(self):
        async with track("a.pdf", stages=["one"]) as job:
            assert [item async for item in job.stage("one").aiterate(async_items(0))] == []
            assert (await sync_to_async(row)()).stage_status is StageStatus.IN_PROGRESS

    @pytest.mark.parametrize("name", ["advance", "grow", "in_flight"])
    def test_negative_number_is_refused(self, name):
        with track("a.pdf", stages=["one"]) as job, pytest.raises(InvalidCount, match="is -1"):
            with getattr(job.stage("one"), name)(-1):
                """Only `in_flight` is a block."""

    def test_iteration_takes_the_length_as_the_total_if_none_is_known(self):
        with track("a.pdf", stages=["one", "two"]) as job:
            stage = job.stage("one", total=9)
            list(stage.iterate([1, 2]))
            assert (row().processed, row().total) == (2, 9)
            list(job.stage("two").iterate(iter([1, 2])))
            second = Stage.objects.get(name="two")
            assert (second.processed, second.total) == (2, 0)

    def test_total_that_is_set_after_growth_is_known_and_may_be_reached(self):
        with track("a.pdf", stages=["one"]) as job:
            stage = job.stage("one")
            stage.grow(2)
            stage.set(processed=5)  # the grown total is of several trackers
            stage.set(processed=0, total=2)
            stage.grow(1)
            stage.set(processed=3)
            with pytest.raises(InvalidCount, match="above its total of 3"):
                stage.set(processed=4)
            assert (row().processed, row().total) == (3, 3)


@pytest.mark.usefixtures("written_at_once")
class TestLog:
    @pytest.mark.parametrize(
        ("act", "status", "line"),
        [
            (lambda stage: stage.fail("why"), "error", ("why", "error")),
            (lambda stage: stage.skip("why"), "skipped", ("Skipped: why", "info")),
            (lambda stage: stage.skip(), "skipped", ("Skipped", "info")),
            (lambda stage: stage.record_error("why"), "pending", ("why", "error")),
        ],
    )
    def test_failure_and_skip_are_logged_with_their_stage(self, act, status, line):
        with track("a.pdf", stages=["one"]) as job:
            act(job.stage("one"))
            assert row().status == status
            event = JobEvent.objects.get(stage="one")
            assert (event.message, event.level) == line
            assert Job.objects.get().error_count == (line[1] == "error")

    def test_long_unit_is_cut(self):
        with track("a.pdf", stages=["one"]) as job:
            job.stage("one", unit="u" * 33)
            assert row().unit == "u" * 31 + "…"


@pytest.mark.usefixtures("written_at_once")
class TestWorkerSlot:
    def columns(self) -> tuple[str, str, float]:
        worker = Worker.objects.get()
        return worker.status, worker.current_chunk, worker.progress_percent

    def test_block_shows_the_chunk_and_its_progress(self):
        with track("a.pdf", stages=["one"], workers=1) as job:
            with job.worker(1, chunk="c-1") as slot:
                assert self.columns() == ("processing", "c-1", 0)
                for percent in (100, 0, 12.5):
                    slot.progress(percent)
                    assert self.columns() == ("processing", "c-1", percent)
            assert self.columns() == ("idle", "", 0)

    def test_state_may_be_replaced_without_a_block(self):
        with track("a.pdf", stages=["one"], workers=1) as job:
            slot = job.worker(1, chunk="c" * 256)
            slot.change(WorkerStatus.ERROR, 30)
            assert self.columns() == ("error", "c" * 254 + "…", 30)
            slot.change(WorkerStatus.IDLE)
            assert self.columns() == ("idle", "", 0)
            for wrong in (-0.1, 100.1):
                with pytest.raises(InvalidCount, match="from 0 to 100"):
                    slot.change(WorkerStatus.ERROR, wrong)


def test_total_that_is_an_estimate_is_one_until_it_is_set_again_or_the_stage_ends():
    def estimated() -> list[str]:
        (snapshot,) = load_snapshots(Job.objects.all()).values()
        return snapshot.state(database_now()).estimated_stages

    with track("a.pdf", stages=["one", "two"]) as job:
        one, two = job.stage("one"), job.stage("two")
        one.set(processed=3, total=490, is_estimate=True)
        two.set(processed=3, total=490, is_estimate=True)
        job.flush()
        assert estimated() == ["one", "two"]
        one.set(processed=4)
        one.set(processed=5, total=480)
        two.complete()
        job.flush()
        assert estimated() == []


@pytest.mark.usefixtures("flush_only")
def test_long_names_of_units_chunks_and_items_are_cut():
    long = "x" * 300
    with track("a.pdf", job_id="job", stages=["one"], workers=1) as job:
        stage = job.stage("one", unit=long)
        stage.record_error("No text.", item=long)
        job.worker(1, chunk=long).progress(50)
        job.flush()
        assert len(Stage.objects.get().unit) == 32
        assert len(Worker.objects.get().current_chunk) == 255
        assert len(JobError.objects.get().examples[0]["item"]) == 255
        assert len(JobEvent.objects.get(level="error").item) == 255
