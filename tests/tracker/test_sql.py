"""What a write and an end leave in the rows of stages and workers, and what comes too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingestion_progress.models import Job, JobEvent, Stage, Worker
from ingestion_progress.models.statuses import EventLevel, JobStatus, StageStatus, WorkerStatus
from ingestion_progress.tracker.changes import EventEntry, JobChanges, WorkerChange
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.tracker.sql import finish_attempt, write_changes

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NINE = datetime(2026, 1, 1, 9, tzinfo=UTC)
TEN = NINE + timedelta(hours=1)
ELEVEN = NINE + timedelta(hours=2)
BUSY = WorkerChange(status=WorkerStatus.PROCESSING, current_chunk="c-1", progress_percent=50.0)
UNSUCCESSFUL = sorted(JobStatus.final() - {JobStatus.SUCCEEDED})


@pytest.fixture
def attempt():
    return start_attempt(JobPlan.of("a.pdf", job_id="job", stages=["one", "two"], workers=1))


def stage_changes(
    status: StageStatus | None = None,
    *,
    started_at: datetime | None = None,
    finished_at: datetime | None = None,
    **deltas: int,
) -> JobChanges:
    changes = JobChanges()
    stage = changes.stages["one"]
    stage.status, stage.started_at, stage.finished_at = status, started_at, finished_at
    for name, delta in deltas.items():
        stage.counters[name].delta = delta
    return changes


def stage_one() -> Stage:
    return Stage.objects.get(job="job", name="one")


class TestEnd:
    @pytest.mark.parametrize("status", sorted(JobStatus.final()))
    def test_no_worker_is_busy_and_nothing_waits_for_one(self, attempt, status):
        changes = JobChanges(workers={1: BUSY})
        changes.counters["queue_depth"].set(7)
        write_changes(attempt, changes)
        assert Worker.objects.get().current_chunk == "c-1"
        assert Job.objects.get().queue_depth == 7

        finish_attempt(attempt, JobChanges(), status)
        worker = Worker.objects.get()
        assert (worker.status, worker.current_chunk, worker.progress_percent) == ("idle", "", 0)
        assert Job.objects.get().queue_depth == 0

    def test_last_changes_leave_no_worker_busy_either(self, attempt):
        changes = JobChanges(workers={1: BUSY})
        changes.counters["queue_depth"].set(7)
        finish_attempt(attempt, changes, JobStatus.SUCCEEDED)
        assert Worker.objects.get().status == WorkerStatus.IDLE
        assert Job.objects.get().queue_depth == 0

    def test_success_completes_a_running_stage_and_skips_a_pending_one(self, attempt):
        write_changes(attempt, stage_changes(StageStatus.IN_PROGRESS, started_at=NINE, in_flight=2))
        finish_attempt(attempt, JobChanges(), JobStatus.SUCCEEDED)
        stages = Stage.objects.order_by("position").values_list("status", "in_flight")
        assert list(stages) == [("completed", 0), ("skipped", 0)]
        assert stage_one().finished_at == Job.objects.get().finished_at

    @pytest.mark.parametrize("status", UNSUCCESSFUL)
    def test_any_other_end_breaks_a_running_stage_and_leaves_a_pending_one(self, attempt, status):
        write_changes(attempt, stage_changes(StageStatus.IN_PROGRESS, started_at=NINE, in_flight=2))
        finish_attempt(attempt, JobChanges(), status)
        stages = Stage.objects.order_by("position").values_list("status", "in_flight")
        assert list(stages) == [("error", 0), ("pending", 0)]
        assert stage_one().finished_at == Job.objects.get().finished_at

    @pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED])
    @pytest.mark.parametrize("stage_status", [StageStatus.COMPLETED, StageStatus.ERROR])
    def test_ended_stage_keeps_nothing_in_flight(self, attempt, stage_status, status):
        write_changes(attempt, stage_changes(stage_status, started_at=NINE, finished_at=TEN))
        write_changes(attempt, stage_changes(in_flight=2))  # from another process
        assert stage_one().in_flight == 2

        finish_attempt(attempt, JobChanges(), status)
        assert stage_one().in_flight == 0


class TestAfterTheEnd:
    @pytest.fixture(params=sorted(JobStatus.final()))
    def ended(self, attempt, request):
        finish_attempt(attempt, JobChanges(), request.param)
        return attempt

    @pytest.mark.parametrize("status", sorted(StageStatus))
    def test_no_stage_changes_its_status(self, ended, status):
        before = stage_one()
        write_changes(ended, stage_changes(status, started_at=NINE, finished_at=TEN))
        after = stage_one()
        assert (after.status, after.started_at, after.finished_at) == (
            before.status,
            before.started_at,
            before.finished_at,
        )

    def test_no_worker_becomes_busy_and_none_is_added(self, ended):
        write_changes(ended, JobChanges(workers={1: BUSY, 2: BUSY}))
        assert list(Worker.objects.values_list("status", "current_chunk")) == [("idle", "")]

    def test_nothing_is_in_flight_or_waits(self, ended):
        changes = stage_changes(in_flight=2)
        changes.counters["queue_depth"].set(7)
        write_changes(ended, changes)
        assert stage_one().in_flight == 0
        assert Job.objects.get().queue_depth == 0

    def test_counts_and_lines_of_the_log_still_arrive(self, ended):
        changes = stage_changes(processed=3)
        changes.counters["entities_total"].delta = 4
        changes.own_counters["tables"].delta = 5
        changes.add_event(EventEntry(at=NINE, level=EventLevel.INFO, message="late"))
        before = Job.objects.get()
        write_changes(ended, changes)
        job = Job.objects.get()
        assert stage_one().processed == 3
        assert (job.entities_total, job.counters) == (4, {"tables": 5})
        assert JobEvent.objects.filter(message="late").exists()
        assert job.revision == before.revision + 1
        assert (job.status, job.finished_at) == (before.status, before.finished_at)
        assert job.heartbeat_at == before.heartbeat_at


class TestLog:
    @pytest.mark.parametrize("stored", [0, 2])
    def test_lines_that_were_dropped_before_the_write_are_counted(self, attempt, stored):
        line = EventEntry(at=NINE, level=EventLevel.INFO, message="line")
        write_changes(attempt, JobChanges(events=[line] * stored, dropped_events=3))
        assert JobEvent.objects.filter(message="line").count() == stored
        assert Job.objects.get().event_count == 1 + stored + 3  # the one is "Started"


class TestStage:
    @pytest.mark.parametrize(
        "ending", [StageStatus.COMPLETED, StageStatus.ERROR, StageStatus.SKIPPED]
    )
    def test_ending_leaves_nothing_in_flight(self, attempt, ending):
        write_changes(attempt, stage_changes(StageStatus.IN_PROGRESS, started_at=NINE, in_flight=2))
        write_changes(attempt, stage_changes(ending, started_at=TEN, finished_at=TEN))
        assert (stage_one().status, stage_one().in_flight) == (ending, 0)

    def test_end_keeps_the_start_that_was_written_before(self, attempt):
        write_changes(attempt, stage_changes(StageStatus.IN_PROGRESS, started_at=NINE))
        write_changes(
            attempt, stage_changes(StageStatus.COMPLETED, started_at=TEN, finished_at=TEN)
        )
        assert (stage_one().started_at, stage_one().finished_at) == (NINE, TEN)

    def test_another_try_clears_the_end_and_keeps_the_start(self, attempt):
        write_changes(attempt, stage_changes(StageStatus.ERROR, started_at=NINE, finished_at=TEN))
        write_changes(attempt, stage_changes(StageStatus.IN_PROGRESS, started_at=ELEVEN))
        stage = stage_one()
        assert stage.stage_status is StageStatus.IN_PROGRESS
        assert (stage.started_at, stage.finished_at) == (NINE, None)
