"""History, forecast and percentage of attempts, as flushes write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ingestion_progress.models import Job, JobSamples, Stage
from ingestion_progress.models.statuses import AttemptStatus, JobStatus, StageStatus
from ingestion_progress.tracker import (
    endings,
    forecasts,
    former_jobs,
    lifecycle,
    queue_job,
    writes,
)
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.endings import finish_attempt, hand_back_attempt
from ingestion_progress.tracker.forecasts import forecast_at
from ingestion_progress.tracker.lifecycle import join_attempt, start_attempt
from ingestion_progress.tracker.plan import Attempt, JobPlan
from ingestion_progress.tracker.sql import write_changes
from ingestion_progress.wire.forecast import History, StageTime
from ingestion_progress.wire.forecast.estimates import Remaining
from ingestion_progress.wire.forecast.event import forecast_event
from ingestion_progress.wire.forecast.history import StageHistory
from ingestion_progress.wire.snapshots import load_snapshot

pytestmark = [pytest.mark.django_db, pytest.mark.database]

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """The time of the database."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (lifecycle, endings, writes):
        monkeypatch.setattr(module, "database_now", clock)
    return clock


class Task:
    """A task that takes its time by the clock."""

    def __init__(
        self, clock: Clock, job_id: str, *, stages: Sequence[str] | None = ("a", "b")
    ) -> None:
        self.clock = clock
        self.attempt: Attempt = start_attempt(JobPlan("x.pdf", job_id=job_id, stages=stages))

    def write(self, stage: str, *, n: int = 0, total: int = 0, status: str = "") -> None:
        write_changes(self.attempt, self.changes(stage, n=n, total=total, status=status))

    def changes(self, stage: str, *, n: int = 0, total: int = 0, status: str = "") -> JobChanges:
        changes = JobChanges()
        found = changes.stages[stage]
        found.counters["processed"].delta += n
        if total:
            found.counters["total"].set(total)
        if status:
            found.status = StageStatus(status)
            found.started_at = self.clock.now
            found.finished_at = self.clock.now if found.status.is_ending else None
        return changes

    def run(self, stage: str, *, items: int, seconds: float, upto: int | None = None) -> None:
        self.write(stage, total=items, status="in_progress")
        for _ in range(items if upto is None else upto):
            self.clock.sleep(seconds)
            self.write(stage, n=1)
        if upto is None:
            self.write(stage, status="completed")

    def end(self, status: JobStatus = JobStatus.SUCCEEDED) -> None:
        finish_attempt(self.attempt, JobChanges(), status=status)

    @property
    def job(self) -> Job:
        return Job.objects.get(pk=self.attempt.job_id)

    @property
    def left(self) -> float:
        """The forecast in seconds."""
        return (self.job.likely_end_at - self.clock.now).total_seconds()

    @property
    def percent(self) -> float:
        return load_snapshot(self.attempt.job_id).overall_percent


def former(clock: Clock, count: int = 3, *, seconds: float = 1.0) -> None:
    for n in range(count):
        task = Task(clock, f"former {n}")
        task.run("a", items=10, seconds=seconds)
        task.run("b", items=20, seconds=seconds)
        task.end()


def test_a_job_like_the_former_ones_takes_as_long_and_its_bar_is_a_straight_line(clock):
    former(clock)
    task = Task(clock, "job")
    assert (task.job.former_jobs, task.left) == (3, pytest.approx(30))
    task.run("a", items=10, seconds=1.0)
    assert task.left == pytest.approx(20, rel=0.05)
    assert task.percent == pytest.approx(33.3, abs=1)
    task.run("b", items=20, seconds=1.0, upto=10)
    assert task.left == pytest.approx(10, rel=0.05)
    assert task.percent == pytest.approx(66.6, abs=1)


def test_without_history_the_weights_count_and_the_linear_formula_is_the_forecast(clock):
    task = Task(clock, "job")
    assert (task.job.former_jobs, task.job.likely_end_at) == (0, None)
    task.run("a", items=10, seconds=1.0, upto=5)
    assert (task.percent, task.left) == (25, pytest.approx(15))


def test_history_is_frozen_at_the_start(clock):
    former(clock)
    task = Task(clock, "job")
    task.run("a", items=10, seconds=1.0, upto=5)
    left = task.left
    former_jobs_later = Task(clock, "later")
    former_jobs_later.run("a", items=10, seconds=50.0)
    former_jobs_later.end()
    assert join_attempt("job").history == task.attempt.history
    clock.now -= timedelta(seconds=500)
    assert task.left == pytest.approx(left)


def test_only_attempts_that_succeeded_with_the_same_stages_are_history(clock):
    former(clock, 2)
    failed = Task(clock, "failed")
    failed.run("a", items=10, seconds=1.0)
    failed.end(JobStatus.FAILED)
    short = Task(clock, "short")
    short.run("a", items=10, seconds=0.01)
    short.end()
    assert Task(clock, "other", stages=["a", "c"]).job.former_jobs == 0
    assert Task(clock, "same").job.former_jobs == 2


def test_the_newest_jobs_are_history(clock, settings):
    settings.INGESTION_PROGRESS_FORMER_JOBS = 2
    for n, seconds in enumerate([10.0, 10.0, 1.0, 1.0]):
        task = Task(clock, f"former {n}")
        task.run("a", items=10, seconds=seconds)
        task.run("b", items=20, seconds=seconds)
        task.end()
    assert Task(clock, "job").left == pytest.approx(30)


@pytest.mark.parametrize(("most", "used"), [(2, 2), (20, 3), (0, 0)])
def test_so_many_jobs_are_history_as_is_set(clock, settings, most, used):
    former(clock, 3)
    settings.INGESTION_PROGRESS_FORMER_JOBS = most
    task = Task(clock, "job")
    assert task.job.former_jobs == used
    task.run("a", items=10, seconds=1.0)
    assert task.percent == (50 if most == 0 else pytest.approx(33.3, abs=1))


def test_a_pause_is_not_taken_for_slowness(clock):
    former(clock)
    task = Task(clock, "job")
    task.run("a", items=10, seconds=1.0, upto=8)
    clock.sleep(300)
    task.write("a", n=1)
    stage = Stage.objects.get(job="job", name="a")
    assert stage.paused_seconds == pytest.approx(299, abs=1)
    assert task.left == pytest.approx(21, rel=0.1)


def test_an_item_after_a_pause_has_the_age_that_it_would_have_without(clock):
    ages = {}
    for job_id, pause_seconds in (("steady", 0), ("paused", 300)):
        task = Task(clock, job_id)
        task.run("a", items=20, seconds=1.0, upto=10)
        before = Stage.objects.get(job=job_id, name="a").item_ages
        clock.sleep(pause_seconds + 1)
        task.write("a", n=1)
        ages[job_id] = Stage.objects.get(job=job_id, name="a").item_ages - before
    assert ages["paused"] == pytest.approx(ages["steady"], rel=0.02)


def test_all_running_stages_pause_while_one_of_them_does(clock):
    former(clock)
    task = Task(clock, "job")
    task.write("b", total=20, status="in_progress")
    task.run("a", items=10, seconds=1.0, upto=8)
    clock.sleep(300)
    task.write("a", n=1)
    paused = Stage.objects.filter(job="job").values_list("paused_seconds", flat=True)
    assert list(paused) == [pytest.approx(299, abs=1)] * 2


def test_an_outage_of_the_database_is_no_pause(clock):
    former(clock)
    task = Task(clock, "job")
    task.write("a", total=100, status="in_progress")
    for _ in range(10):
        clock.sleep(1)
        task.write("a", n=1)
    clock.sleep(30)
    task.write("a", n=30)
    assert Stage.objects.get(job="job", name="a").paused_seconds == 0


def test_lines_of_the_log_do_not_change_the_forecast(clock):
    task = Task(clock, "job")
    task.run("a", items=10, seconds=10.0, upto=2)
    end = task.job.likely_end_at
    clock.sleep(60)
    changes = JobChanges()
    changes.counters["queue_depth"].set(3)
    write_changes(task.attempt, changes)
    assert task.job.likely_end_at == end


def test_the_next_attempt_starts_with_a_new_forecast(clock):
    former(clock)
    task = Task(clock, "job")
    task.run("a", items=10, seconds=1.0)
    hand_back_attempt(task.attempt, JobChanges(), AttemptStatus.INTERRUPTED, "Stopped.")
    waiting = Job.objects.get(pk="job")
    assert (waiting.former_jobs, waiting.likely_end_at) == (0, None)
    again = Task(clock, "job")
    assert (again.job.former_jobs, again.job.attempt) == (3, 2)


def test_an_attempt_that_goes_on_starts_with_the_percentage_of_what_is_done(clock):
    former(clock)
    queue_job("x.pdf", job_id="job", stages=["a", "b"])
    Stage.objects.filter(job="job", name="a").update(processed=5, total=10)
    task = Task(clock, "job", stages=None)
    assert (task.percent, task.job.reached_percent) == (25, 25)
    assert task.attempt.history.start_percent == 25
    assert join_attempt("job").history == task.attempt.history
    task.run("a", items=10, seconds=1.0, upto=4)
    task.write("a", n=1, status="completed")
    assert 25 < task.percent < 100


def test_an_attempt_that_finds_more_to_do_does_not_fall_below_its_start(clock):
    queue_job("x.pdf", job_id="job", stages=["a", "b"])
    Stage.objects.filter(job="job", name="a").update(processed=5, total=10)
    task = Task(clock, "job", stages=None)
    assert task.percent == 25
    task.write("a", total=100)
    assert task.percent == 25


def test_history_is_that_of_the_same_task_with_the_same_stages_in_the_same_format(monkeypatch):
    def digest(task: str, names: str) -> str:
        return former_jobs.plan_digest(Job(task=task), [Stage(name=name) for name in names])

    known = digest("shop.ingest", "ab")
    assert digest("shop.ingest", "ab") == known
    others = [digest("shop.other", "ab"), digest("shop.ingest", "ba"), digest("shop.ingest", "a")]
    monkeypatch.setattr(former_jobs, "FORMAT", former_jobs.FORMAT + 1)
    assert len({known, *others, digest("shop.ingest", "ab")}) == 5


def test_former_job_without_times_does_not_count(clock):
    former(clock)
    JobSamples.objects.filter(pk=JobSamples.objects.latest("pk").pk).update(times=[])
    assert Task(clock, "job").job.former_jobs == 2


def test_a_job_that_an_older_version_started_goes_on_without_history(clock):
    task = Task(clock, "job")
    JobSamples.objects.all().delete()
    assert join_attempt("job").history == History()
    task.run("a", items=10, seconds=1.0)
    task.end()
    assert not JobSamples.objects.exclude(succeeded_at=None).exists()


def test_what_was_forecast_is_scored_at_the_end(clock):
    former(clock)
    task = Task(clock, "job")
    task.run("a", items=10, seconds=2.0)
    task.run("b", items=20, seconds=2.0)
    task.end()
    stored = JobSamples.objects.get(job="job")
    assert [row[:2] for row in stored.scores] == [
        [10, 54_000], [25, 45_000], [50, 30_000], [75, 15_000],
    ]  # fmt: skip
    _, true_ms, likely, low, high, linear = stored.scores[2]
    assert low < likely < high
    assert likely == pytest.approx(true_ms, rel=0.2)
    assert linear == pytest.approx(true_ms * 0.6, rel=0.5)
    assert stored.error >= 0


def test_what_is_scored_is_what_was_said(clock):
    """Not what would be said now, with the history of later jobs."""
    former(clock)
    task = Task(clock, "job")
    task.run("a", items=10, seconds=2.0, upto=2)
    said_first = task.left * 1000
    task.run("a", items=10, seconds=2.0, upto=4)
    said = task.left * 1000
    task.run("a", items=10, seconds=2.0, upto=4)
    task.run("b", items=14, seconds=2.0)
    task.end()
    first, scored, *_ = JobSamples.objects.get(job="job").scores
    assert scored[:2] == [25, 36_000]
    assert scored[2] == pytest.approx(said, abs=1)
    # Between two writes what is left becomes less with the time: 0.8 s here.
    assert first[:2] == [10, 43_200]
    assert first[2] == pytest.approx(said_first - 800, abs=1)


def ran(start: float | None, end: float | None, status: str = "completed") -> Stage:
    """A stage with 10 items that ran between these seconds."""
    at = [None if each is None else START + timedelta(seconds=each) for each in (start, end)]
    return Stage(status=status, started_at=at[0], finished_at=at[1], processed=10, total=10)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        # Seconds, overlap with the stage before, and seconds until the next start, of each.
        ([ran(0, 4), ran(6, 10)], [(4, 0, 2), (4, 0, 2)]),
        ([ran(0, 4), ran(4, 10)], [(4, 0, 0), (6, 0, 2)]),
        ([ran(0, 4), ran(2, 10)], [(4, 0, 0), (8, 0.5, 2)]),
        ([ran(0, 8), ran(2, 4)], [(8, 0, 4), (2, 1, 0)]),
        ([ran(5, 9), ran(0, 4)], [(4, 0, 3), (4, 0, 1)]),
        ([ran(0, 4), ran(4, 4), ran(7, 8)], [(4, 0, 0), (0, 0, 3), (1, 0, 4)]),
        ([ran(0, 4, "error"), ran(5, 6)], [(0, 0, 0), (1, 0, 6)]),
        ([ran(0, 4), ran(None, None, "skipped")], [(4, 0, 8), (0, 0, 0)]),
        ([ran(0, 4), ran(1, None, "in_progress")], [(4, 0, 8), (0, 0, 0)]),
        ([ran(0, 4), ran(1, None)], [(4, 0, 8), (0, 0, 0)]),
    ],
)
def test_what_a_stage_did_is_read_from_its_times(stages, expected):
    sample = [0, 0, [0] * len(stages), [10] * len(stages)]
    times = former_jobs.stage_times([sample], stages, START + timedelta(seconds=12))
    assert [(each.seconds, each.overlap, each.gap_seconds) for each in times] == expected
    assert [each.items for each in times] == [10 if seconds else 0 for seconds, *_ in expected]
    assert {each.total for each in times} == {10}


def test_items_of_an_attempt_are_those_that_it_counted_itself():
    samples = [[0, 0, [4], [0]], [900, 40, [6], [9]], [2000, 99, [10], [10]]]
    (time,) = former_jobs.stage_times(samples, [ran(0, 4)], START + timedelta(seconds=4))
    assert (time.items, time.total, time.has_grown) == (6, 10, True)
    (known,) = former_jobs.stage_times(
        [[0, 0, [10], [10]]], [ran(0, 4)], START + timedelta(seconds=4)
    )
    assert (known.items, known.has_grown) == (1, False)
    (more,) = former_jobs.stage_times([[0, 0, [0], [8]]], [ran(0, 4)], START)
    assert more.total == 10


@pytest.mark.parametrize(
    ("totals", "has_grown"),
    [([100], False), ([96, 100], False), ([94, 100], True), ([0, 100], False), ([0, 1, 100], True)],
)
def test_a_total_has_grown_if_the_first_one_was_much_smaller(totals, has_grown):
    stage = ran(0, 4)
    stage.total = 100
    samples = [[number, 0, [0], [total]] for number, total in enumerate(totals)]
    (time,) = former_jobs.stage_times(samples, [stage], START)
    assert time.has_grown is has_grown


def test_an_error_needs_a_range_that_is_wider_than_a_millisecond():
    history = History(former_jobs=3)
    exact = [[percent, 250, 1, 1, 1, None] for percent in (10, 25)]
    assert former_jobs.squared_error(exact, history) is None
    passed = [[10, 250, -5, -9, 40, None], [25, 250, None, None, None, None]]
    assert former_jobs.squared_error(passed, history) is None
    assert former_jobs.squared_error([[50, 200, 200, 100, 400, None]], history) == 0


def test_a_job_ends_although_the_clock_was_set_back(clock):
    former(clock)
    task = Task(clock, "job")
    task.run("a", items=10, seconds=1.0)
    clock.sleep(-8)
    task.write("b", n=1)
    task.end()
    assert task.percent == 100
    assert len(JobSamples.objects.get(job="job").scores) == 4


def test_a_stage_that_no_earlier_job_has_run_moves_the_bar_and_has_a_time(clock):
    for n in range(3):
        task = Task(clock, f"former {n}")
        task.run("a", items=10, seconds=1.0)
        task.end()
    task = Task(clock, "job")
    task.run("a", items=10, seconds=1.0, upto=8)
    assert 70 < task.percent < 90
    task.write("a", n=2, status="completed")
    assert task.percent < 95
    assert task.left > 0
    task.write("b", status="in_progress")  # without a total, so nothing shows how long it takes
    bar = []
    for _ in range(5):
        clock.sleep(1)
        task.write("b", n=1)
        bar.append(task.percent)
        assert task.left > 0
    assert bar == sorted(set(bar))
    assert bar[-1] < 99.9


def test_a_forecast_that_former_jobs_do_not_help_is_marked(clock):
    for n in range(3):
        task = Task(clock, f"former {n}")
        task.run("a", items=10, seconds=1.0)
        task.end()
    task = Task(clock, "job")
    task.run("a", items=10, seconds=1.0, upto=8)
    assert not task.job.is_forecast_by_weights
    task.write("a", n=2, status="completed")
    task.write("b", status="in_progress")  # which none of them has run
    assert task.job.is_forecast_by_weights
    assert forecast_event(task.job, task.percent, clock.now).reason == "no_history"
    hand_back_attempt(task.attempt, JobChanges(), AttemptStatus.INTERRUPTED, "Stopped.")
    assert not Job.objects.get(pk="job").is_forecast_by_weights


def test_a_last_stage_with_more_items_than_usual_is_neither_at_its_end_nor_overdue(clock):
    former(clock)
    task = Task(clock, "job")
    task.run("a", items=10, seconds=1.0)
    task.write("b", status="in_progress")  # its total is unknown, usually 20
    for _ in range(40):
        clock.sleep(1)
        task.write("b", n=1)
        assert task.left > 1
    assert 90 < task.percent < 99.9


def test_the_time_after_the_last_stage_is_part_of_the_forecast(clock):
    for n in range(3):
        task = Task(clock, f"former {n}")
        task.run("a", items=10, seconds=1.0)
        clock.sleep(3)
        task.run("b", items=20, seconds=1.0)
        clock.sleep(7)
        task.end()
    task = Task(clock, "job")
    assert task.left == pytest.approx(40)
    task.run("a", items=10, seconds=1.0)
    assert task.left == pytest.approx(30, rel=0.05)
    task.run("b", items=20, seconds=1.0)
    assert task.left == pytest.approx(7)
    assert task.percent < 90


def test_an_error_of_the_forecast_is_logged_once_and_no_count_is_lost(clock, caplog):
    former(clock)
    task = Task(clock, "job")
    broken = StageHistory(log_seconds=1e9, items=10)
    history = replace(task.attempt.history, stages=(broken, broken))
    task.attempt = replace(task.attempt, history=history)
    task.run("a", items=10, seconds=1.0, upto=6)
    assert Stage.objects.get(job="job", name="a").processed == 6
    assert [record.message for record in caplog.records] == ["forecast_failed"]
    task.end()
    assert task.percent == 100


stage_times = st.builds(
    StageTime,
    items=st.integers(0, 10**6),
    total=st.integers(0, 10**6),
    seconds=st.floats(0, 1e5),
    overlap=st.floats(0, 1),
    has_grown=st.booleans(),
)
steps = st.tuples(
    st.floats(0, 5000),
    st.sampled_from(["a", "b"]),
    st.integers(0, 50),
    st.integers(0, 200),
    st.sampled_from(["", "in_progress", "completed", "error", "skipped"]),
)


@hypothesis_settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    st.lists(st.tuples(stage_times, stage_times), max_size=4),
    st.lists(steps, max_size=12),
    st.sampled_from(sorted(JobStatus.final())),
)
def test_the_percentage_never_falls_and_is_100_only_on_success(clock, history, taken, ending):
    Job.objects.all().delete()
    plan = former_jobs.plan_digest(Job(), [Stage(name="a"), Stage(name="b")])
    for n, times in enumerate(history):
        JobSamples.objects.create(
            job=Job.objects.create(id=f"former {n}"),
            attempt=1,
            plan=plan,
            times=[astuple(time) for time in times],
            error=float(n),
            succeeded_at=clock.now,
        )
    task = Task(clock, "job")
    assert task.job.former_jobs == len(history)
    reached = task.percent
    for seconds, stage, n, total, status in taken:
        clock.sleep(seconds)
        task.write(stage, n=n, total=total, status=status)
        assert reached <= task.percent < 100
        reached = task.percent
    task.end(ending)
    assert (task.percent == 100) == ending.has_succeeded
    assert task.percent >= reached


@pytest.mark.parametrize("count", [0, 1, 3])
def test_history_of_other_stages_gives_no_forecast(count, caplog):
    known = StageHistory(log_seconds=2.0, items=10)
    history = History(stages=(known,) * count, former_jobs=3)
    stages = [Stage(name=name, status=StageStatus.PENDING) for name in ("a", "b")]
    assert forecast_at(Job(id="job", updated_at=START), stages, history) is None
    assert not caplog.records
    history = replace(history, stages=(known,) * 2)
    assert forecast_at(Job(id="job", updated_at=START), stages, history) is not None


def test_a_job_that_never_ran_has_no_times_to_be_stored(django_assert_num_queries):
    now = datetime.now(UTC)
    with django_assert_num_queries(0):
        former_jobs.record_times(Job(finished_at=now), [])
        former_jobs.record_times(Job(started_at=now), [])
        former_jobs.record_times(Job(started_at=now, finished_at=now + timedelta(seconds=0.9)), [])


def test_an_end_beyond_all_dates_is_unknown():
    now, decade = datetime(2026, 1, 1, tzinfo=UTC), 10 * 365 * 86_400.0
    job = Job()
    forecasts.set_ends(job, Remaining(likely=1.0, low=0.5, high=decade), now)
    assert job.latest_end_at == now + timedelta(seconds=decade)
    forecasts.set_ends(job, Remaining(likely=1.0, low=0.5, high=decade + 1), now)
    assert (job.likely_end_at, job.earliest_end_at, job.latest_end_at) == (None, None, None)
