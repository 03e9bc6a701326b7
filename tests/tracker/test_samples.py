"""Samples of an attempt: few, evenly spaced, and written with the flush that they belong to."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion_progress import track
from ingestion_progress.models import Job, JobSamples
from ingestion_progress.models.samples import MAX_SAMPLED_ATTEMPTS, MAX_SAMPLES
from ingestion_progress.models.statuses import AttemptStatus, WorkerStatus
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import queue_job, samples
from ingestion_progress.tracker.changes import JobChanges, WorkerChange
from ingestion_progress.tracker.endings import hand_back_attempt
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import Attempt, JobPlan
from ingestion_progress.tracker.samples import MAX_NUMBERS, is_due, thinned
from ingestion_progress.tracker.sql import write_changes, write_several

steps = st.lists(st.integers(1, 10**7), min_size=1, max_size=400)


@example([57_000, 500, 999, 1], 34)  # the interval doubles, but no sample is due
@given(steps, st.integers(1, 100))
def test_samples_are_bounded_and_lie_in_different_intervals(gaps, stages):
    kept, now = [], 0
    for gap in gaps:
        before, now = now, now + gap
        if is_due(before, now, stages):
            kept = thinned([*kept, [now]], stages)
    times = [sample[0] for sample in kept]
    assert times == sorted(times)
    assert len(times) <= min(MAX_SAMPLES, max(1, MAX_NUMBERS // (2 * stages)))
    interval = samples.interval_ms(times[-1] if times else 0, stages)
    assert len({time // interval for time in times}) == len(times)


@pytest.mark.parametrize(("stages", "most"), [(0, MAX_SAMPLES), (1, MAX_SAMPLES), (100, 40)])
def test_interval_doubles_when_there_would_be_too_many_samples_or_numbers(stages, most):
    interval = samples.FIRST_INTERVAL_MS
    assert samples.interval_ms(0, stages) == interval
    assert samples.interval_ms(most * interval - 1, stages) == interval
    assert samples.interval_ms(most * interval, stages) == 2 * interval
    assert samples.interval_ms(8 * most * interval - 1, stages) == 8 * interval


def test_samples_of_a_long_attempt_cover_all_of_it():
    kept = [[0]]
    for now in range(250, 3_600_000, 250):
        if is_due(now - 250, now, 5):
            kept = thinned([*kept, [now]], 5)
    times = [sample[0] for sample in kept]
    widest = max(after - before for before, after in pairwise(times))
    assert MAX_SAMPLES / 2 <= len(times) <= MAX_SAMPLES
    assert widest <= 2 * 3_600_000 / (MAX_SAMPLES / 2)


# In which no interval ends unless a test lets time pass.
LONG_INTERVAL_MS = 600_000


@pytest.fixture
def long_intervals(monkeypatch):
    monkeypatch.setattr(samples, "FIRST_INTERVAL_MS", LONG_INTERVAL_MS)


def counted(n: int) -> JobChanges:
    changes = JobChanges()
    changes.stages["one"].counters["processed"].delta = n
    return changes


def start(job_id: str = "job") -> Attempt:
    return start_attempt(JobPlan("a.pdf", job_id=job_id, stages=["one", "two"]))


def let_pass(seconds: float) -> None:
    """As if all that was written so far were older."""
    for job in Job.objects.all():
        job.started_at -= timedelta(seconds=seconds)
        job.updated_at -= timedelta(seconds=seconds)
        job.save()


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.usefixtures("long_intervals")
class TestWrites:
    def test_a_flush_writes_a_sample_only_if_an_interval_has_ended(self):
        attempt = start()
        assert JobSamples.objects.get().samples == [[0, 0.0, [0, 0], [0, 0], None, 0, 0]]
        write_changes(attempt, counted(1))
        assert len(JobSamples.objects.get().samples) == 1

        let_pass(LONG_INTERVAL_MS / 1000)
        write_changes(attempt, counted(2))

        stored = JobSamples.objects.get()
        assert (stored.attempt, stored.stages) == (1, ["one", "two"])
        assert stored.samples[-1][2:4] == [[3, 0], [0, 0]]
        assert len(stored.samples) == 2

    def test_samples_of_many_jobs_take_two_statements_more(self):
        attempts = [start(f"job {n}") for n in range(5)]

        def statements(count: int) -> int:
            with CaptureQueriesContext(connection) as queries:
                write_several([(attempt, counted(1)) for attempt in attempts[:count]])
            return len(queries)

        let_pass(0)
        without = statements(5)
        let_pass(LONG_INTERVAL_MS / 1000)
        one = statements(1)
        let_pass(LONG_INTERVAL_MS / 1000)
        assert (one, statements(5)) == (without + 2, without + 2)

    @pytest.mark.parametrize("others", [0, 1])
    def test_a_sample_has_the_busy_workers_and_the_queue_of_its_job(self, others):
        plans = [JobPlan("a.pdf", job_id=n, stages=["one"], workers=3) for n in "ab"]
        attempts = [start_attempt(plan) for plan in plans]
        changes = counted(1)
        changes.workers = {
            n: WorkerChange(status=WorkerStatus(status))
            for n, status in enumerate(["processing", "idle", "processing"], start=1)
        }
        changes.counters["queue_depth"].set(7)
        let_pass(LONG_INTERVAL_MS / 1000)
        write_several([(attempts[0], changes), *[(attempts[1], counted(1))] * others])
        last = {each.job_id: each.samples[-1][5:] for each in JobSamples.objects.all()}
        assert last == {"a": [2, 7], "b": [0, 0]}

    def test_only_samples_of_the_present_attempt_are_read(self):
        attempt = start()
        for other in (7, 8):
            JobSamples.objects.create(job_id="job", attempt=other, samples=[[0, 7.7, [], [], None]])
        let_pass(LONG_INTERVAL_MS / 1000)
        with CaptureQueriesContext(connection) as queries:
            write_changes(attempt, counted(1))
        (query,) = [
            each["sql"]
            for each in queries.captured_queries
            if each["sql"].startswith("SELECT") and '"samples"' in each["sql"]
        ]
        with connection.cursor() as cursor:
            cursor.execute(query)
            assert len(cursor.fetchall()) == 1
        assert [len(each.samples) for each in JobSamples.objects.order_by("attempt")] == [2, 1, 1]

    def test_the_end_of_an_attempt_is_sampled(self):
        with synchronous_tracking(), track("a.pdf", job_id="job", stages=["one"]) as job:
            with job.stage("one", total=4) as stage:
                stage.advance(4)
        assert JobSamples.objects.get().samples[-1][2:4] == [[4], [4]]

    def test_an_attempt_that_is_handed_back_is_sampled_too(self):
        attempt = start_attempt(JobPlan("a.pdf", job_id="job", stages=["one"], task="shop.ingest"))
        changes = JobChanges()
        changes.stages["one"].counters["processed"].delta = 4
        hand_back_attempt(attempt, changes, AttemptStatus.FAILED, "No answer.")
        assert JobSamples.objects.get().samples[-1][2] == [4]

    def test_a_job_that_has_not_succeeded_is_below_100_percent(self):
        attempt = start_attempt(JobPlan("a.pdf", job_id="job", stages=["one"]))
        changes = counted(4)
        changes.stages["one"].counters["total"].set(4)
        let_pass(LONG_INTERVAL_MS / 1000)
        write_changes(attempt, changes)
        assert Job.objects.get().reached_percent == 100
        assert JobSamples.objects.get().samples[-1][1:4] == [99.9, [4], [4]]

    def test_each_attempt_has_its_samples_and_the_job_takes_them_along(self):
        with synchronous_tracking():
            for _ in range(2):
                with track("a.pdf", job_id="job", stages=["one"], restart=True):
                    pass
        assert list(JobSamples.objects.values_list("attempt", flat=True)) == [1, 2]
        Job.objects.all().delete()
        assert not JobSamples.objects.exists()

    def test_samples_of_the_newest_attempts_are_kept(self):
        with synchronous_tracking():
            for job_id, attempts in (("other", 2), ("job", MAX_SAMPLED_ATTEMPTS + 3)):
                for _ in range(attempts):
                    with track("a.pdf", job_id=job_id, stages=["one"], restart=True):
                        pass
        kept = JobSamples.objects.filter(job="job").values_list("attempt", flat=True)
        assert list(kept) == list(range(4, MAX_SAMPLED_ATTEMPTS + 4))
        assert JobSamples.objects.filter(job="other").count() == 2

    def test_a_job_that_an_older_version_started_gets_samples_too(self):
        attempt = start()
        JobSamples.objects.all().delete()
        let_pass(LONG_INTERVAL_MS / 1000)
        write_changes(attempt, counted(1))
        assert len(JobSamples.objects.get().samples) == 1

    def test_a_queued_job_has_none(self):
        queue_job("a.pdf", job_id="job")
        assert not JobSamples.objects.exists()
