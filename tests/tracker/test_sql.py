"""What a write and an end leave in the rows of stages and workers, and what comes too late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from ingestion_progress import wakeups
from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.models import Job, JobError, JobEvent, Stage, Worker
from ingestion_progress.models.statuses import EventLevel, JobStatus, StageStatus, WorkerStatus
from ingestion_progress.tracker import delete_job, queue_job, request_cancellation
from ingestion_progress.tracker.changes import EventEntry, JobChanges, WorkerChange
from ingestion_progress.tracker.endings import finish_attempt
from ingestion_progress.tracker.error_groups import error_group
from ingestion_progress.tracker.lifecycle import join_attempt, start_attempt
from ingestion_progress.tracker.plan import Attempt, JobPlan
from ingestion_progress.tracker.sql import (
    WriteResult,
    is_any_to_stop,
    notify_on_commit,
    renew_heartbeats,
    write_changes,
    write_several,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NINE = datetime(2026, 1, 1, 9, tzinfo=UTC)
TEN = NINE + timedelta(hours=1)
ELEVEN = NINE + timedelta(hours=2)
BUSY = WorkerChange(status=WorkerStatus.PROCESSING, current_chunk="c-1", progress_percent=50.0)
UNSUCCESSFUL = sorted(JobStatus.final() - {JobStatus.SUCCEEDED})


@pytest.fixture
def attempt():
    return start("job")


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


def start(job_id: str, *, restart: bool = False) -> Attempt:
    plan = JobPlan("a.pdf", job_id=job_id, stages=["one", "two"], workers=1)
    return start_attempt(plan, restart=restart)


class TestEnd:
    @pytest.mark.parametrize(
        ("status", "level"),
        [
            (JobStatus.SUCCEEDED, EventLevel.INFO),
            (JobStatus.CANCELLED, EventLevel.WARNING),
            (JobStatus.FAILED, EventLevel.ERROR),
            (JobStatus.LOST, EventLevel.ERROR),
        ],
    )
    def test_row_and_log_have_the_reason_and_the_time(self, attempt, status, level):
        Job.objects.update(reached_percent=40)
        before = Job.objects.get()
        finish_attempt(attempt, JobChanges(), status, "why\0" + "y" * 3000)
        job, last = Job.objects.get(), JobEvent.objects.last()
        assert job.error.startswith("whyyy")
        assert len(job.error) == len(last.message) == 2000
        assert job.finished_at == job.updated_at > before.updated_at
        assert job.revision == before.revision + 2  # of the last changes, and of the end
        assert job.reached_percent == (100 if status is JobStatus.SUCCEEDED else 40)
        assert last.message.startswith(f"{status.label}: why")
        assert (last.level, last.attempt) == (level, 1)

    @pytest.mark.parametrize("status", sorted(JobStatus.final()))
    def test_writer_learns_it(self, attempt, status):
        result = finish_attempt(attempt, stage_changes(StageStatus.IN_PROGRESS), status)
        assert (result.status, result.is_cancel_requested) == (status, False)
        ended = StageStatus.COMPLETED if status is JobStatus.SUCCEEDED else StageStatus.ERROR
        assert [stage.name for stage in result.stages] == ["one", "two"]
        assert result.stages[0].stage_status is ended

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
        assert not stage_one().was_interrupted

    @pytest.mark.parametrize("status", UNSUCCESSFUL)
    def test_any_other_end_breaks_a_running_stage_and_leaves_a_pending_one(self, attempt, status):
        write_changes(attempt, stage_changes(StageStatus.IN_PROGRESS, started_at=NINE, in_flight=2))
        finish_attempt(attempt, JobChanges(), status)
        stages = Stage.objects.order_by("position").values_list("status", "in_flight")
        assert list(stages) == [("error", 0), ("pending", 0)]
        assert stage_one().finished_at == Job.objects.get().finished_at
        assert stage_one().was_interrupted

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

    def test_counts_change_nothing_and_lines_of_the_log_still_arrive(self, ended):
        changes = stage_changes(processed=3, failed=2)
        changes.errors.add(error_group("late", at=NINE))
        changes.counters["entities_total"].delta = 4
        changes.own_counters["tables"].delta = 5
        changes.add_event(EventEntry(at=NINE, level=EventLevel.INFO, message="late"))
        before, stages = Job.objects.values().get(), list(Stage.objects.values())
        errors = JobError.objects.count()
        write_changes(ended, changes)
        assert Job.objects.values().get() == before | {"event_count": before["event_count"] + 1}
        assert list(Stage.objects.values()) == stages
        assert JobError.objects.count() == errors
        assert JobEvent.objects.filter(message="late").exists()


class TestWrite:
    def test_writer_learns_the_stages_and_a_request_to_stop(self, attempt):
        before = write_changes(attempt, stage_changes(StageStatus.IN_PROGRESS))
        request_cancellation("job")
        after = write_changes(attempt, stage_changes(processed=3))
        assert (before.is_cancel_requested, after.is_cancel_requested) == (False, True)
        assert before.status is after.status is JobStatus.RUNNING
        assert [(stage.name, stage.processed) for stage in after.stages] == [("one", 3), ("two", 0)]

    def test_job_has_a_new_version_and_a_heartbeat(self, attempt):
        before = Job.objects.get()
        write_changes(attempt, JobChanges())
        after = Job.objects.get()
        assert after.revision == before.revision + 1
        assert after.updated_at == after.heartbeat_at > before.heartbeat_at

    def test_worker_is_added_once_and_replaced_later(self, attempt):
        write_changes(attempt, JobChanges(workers={3: BUSY, 2: BUSY}))
        write_changes(attempt, JobChanges(workers={2: WorkerChange(status=WorkerStatus.ERROR)}))
        columns = ("number", "status", "current_chunk", "progress_percent")
        assert list(Worker.objects.order_by("number").values_list(*columns)) == [
            (1, "idle", "", 0),
            (2, "error", "", 0),
            (3, "processing", "c-1", 50),
        ]

    @pytest.mark.parametrize("write", [write_changes, finish_attempt])
    def test_superseded_attempt_writes_nothing(self, attempt, write):
        start("job", restart=True)
        before = Job.objects.values().get()
        arguments = [JobStatus.FAILED] if write is finish_attempt else []
        with pytest.raises(JobSuperseded):
            write(attempt, stage_changes(processed=3), *arguments)
        assert Job.objects.values().get() == before
        assert stage_one().processed == 0

    def test_unit_and_counts_are_those_of_the_named_stage(self, attempt):
        changes = stage_changes(processed=3)
        changes.stages["one"].unit = "pages"
        write_changes(attempt, changes)
        write_changes(attempt, stage_changes(processed=1))  # keeps the unit
        stages = Stage.objects.order_by("position").values_list("processed", "unit")
        assert list(stages) == [(4, "pages"), (0, "")]


class TestHeartbeats:
    def test_they_reach_running_attempts_only_and_learn_the_state_of_all(self, attempt):
        old, ended, silent = start("old"), start("ended"), start("silent")
        new = start("old", restart=True)
        finish_attempt(ended, JobChanges(), JobStatus.FAILED)
        request_cancellation("job")
        Job.objects.update(heartbeat_at=NINE)

        learned = renew_heartbeats([attempt, old, ended])
        assert learned == {
            ("job", attempt.epoch): WriteResult(
                status=JobStatus.RUNNING, is_cancel_requested=True, stages=()
            ),
            ("ended", ended.epoch): WriteResult(
                status=JobStatus.FAILED, is_cancel_requested=False, stages=()
            ),
        }
        beaten = Job.objects.filter(heartbeat_at__gt=NINE)
        assert set(beaten.values_list("pk", flat=True)) == {"job"}
        acknowledged = Job.objects.filter(cancel_acknowledged_at__isnull=False)
        assert [job.pk for job in acknowledged] == ["job"]
        assert set(renew_heartbeats([new, silent])) == {
            ("old", new.epoch),
            ("silent", silent.epoch),
        }

    @pytest.mark.parametrize(
        "beat",
        [
            lambda attempt: renew_heartbeats([attempt]),
            lambda attempt: write_changes(attempt, JobChanges()),
        ],
    )
    def test_a_cancellation_is_acknowledged_by_the_first_of_them(self, attempt, beat):
        request_cancellation("job")
        Job.objects.update(cancel_acknowledged_at=NINE)
        beat(attempt)
        job = Job.objects.get()
        assert job.heartbeat_at > job.cancel_acknowledged_at == NINE

    @pytest.mark.parametrize(
        "stop",
        [
            lambda attempt: request_cancellation("job"),
            lambda attempt: finish_attempt(attempt, JobChanges(), JobStatus.SUCCEEDED),
            lambda attempt: start("job", restart=True),
            lambda attempt: delete_job("job", even_if_running=True),
        ],
    )
    def test_one_that_is_to_stop_is_found_among_others_that_go_on(self, attempt, stop):
        other = start("other")
        assert not is_any_to_stop([attempt, other])
        stop(attempt)
        assert is_any_to_stop([attempt, other])
        assert not is_any_to_stop([other])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_end", [True, False])
def test_notification_says_whether_the_job_has_ended(monkeypatch, is_end):
    published = []
    monkeypatch.setattr(wakeups, "publish", lambda *args, **names: published.append((args, names)))
    notify_on_commit("job", is_end=is_end)
    assert published == [(("job",), {"is_end": is_end})]


@pytest.mark.django_db(transaction=True)
def test_each_write_of_a_job_is_announced_until_its_end(monkeypatch):
    published: list[tuple[str, bool]] = []

    def publish(job_id: str, *, is_end: bool) -> None:
        published.append((job_id, is_end))

    def announced(act: Callable[[], object]) -> set[tuple[str, bool]]:
        published.clear()
        act()
        return set(published)

    def logged() -> JobChanges:
        changes = JobChanges()
        changes.add_event(EventEntry(at=NINE, level=EventLevel.INFO, message="line"))
        return changes

    monkeypatch.setattr(wakeups, "publish", publish)
    plan = JobPlan("a.pdf", job_id="job", stages=["one"])
    assert announced(lambda: queue_job("a.pdf", job_id="job")) == {("job", False)}
    assert announced(lambda: start_attempt(plan)) == {("job", False)}
    attempt = join_attempt("job")
    assert announced(lambda: write_changes(attempt, logged())) == {("job", False)}
    assert announced(lambda: write_several([(attempt, logged())])) == {("job", False)}
    assert announced(lambda: request_cancellation("job")) == {("job", False)}
    end = partial(finish_attempt, attempt, logged(), JobStatus.CANCELLED)
    assert announced(end) == {("job", True)}
    assert announced(lambda: write_changes(attempt, logged())) == set()  # only its log changes
    assert announced(lambda: write_several([(attempt, logged())])) == set()
    assert announced(lambda: delete_job("job")) == {("job", False)}


class TestLog:
    def test_line_keeps_all_its_fields_and_is_cut_to_what_a_column_holds(self, attempt):
        lines = [
            EventEntry(at=NINE, level=EventLevel.WARNING, message="m", stage="one", item="page 3"),
            EventEntry(
                at=TEN, level=EventLevel.ERROR, message="m" * 9999, stage="s" * 999, item="i" * 999
            ),
        ]
        write_changes(attempt, JobChanges(events=lines))
        _, first, second = JobEvent.objects.order_by("pk")
        assert (first.job_id, first.attempt, first.at) == ("job", 1, NINE)
        assert (first.level, first.stage, first.item, first.message) == (
            "warning",
            "one",
            "page 3",
            "m",
        )
        assert [len(text) for text in (second.stage, second.item, second.message)] == [
            64,
            255,
            2000,
        ]

    @pytest.mark.parametrize(("counted", "stored"), [(0, 3), (1, 2), (3, 0), (5, 0)])
    def test_log_that_is_full_takes_no_more_lines(self, attempt, settings, counted, stored):
        settings.INGESTION_PROGRESS_MAX_EVENTS_PER_JOB = 3
        Job.objects.update(event_count=counted)
        line = EventEntry(at=NINE, level=EventLevel.INFO, message="line")
        write_changes(attempt, JobChanges(events=[line] * 4))
        assert JobEvent.objects.filter(message="line").count() == stored
        assert Job.objects.get().event_count == counted + 4

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

    def test_a_total_that_shrinks_keeps_what_the_former_attempt_knew(self, attempt):
        Stage.objects.filter(name="one").update(total=9, inherited_total=5)
        write_changes(attempt, stage_changes(total=-2))
        assert (stage_one().total, stage_one().inherited_total) == (7, 5)

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
