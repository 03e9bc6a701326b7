"""When a batch will end, by its running jobs, its former jobs and its queue."""

from __future__ import annotations

import heapq
import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.models import Batch, Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import ForecastReason, JobStatus
from ingestion_progress.wire import batch_forecasts
from ingestion_progress.wire.batch_forecasts import (
    MAX_JOBS,
    ActiveCounts,
    BatchForecastSchema,
    batch_forecast,
    batch_remaining,
)
from ingestion_progress.wire.batches import batch_progress
from ingestion_progress.wire.forecast import Remaining

NOW = datetime.fromisoformat("2026-11-02T10:00:00+00:00")

seconds = st.floats(0.01, 1e6)


def ago(at: float, now: datetime = NOW) -> datetime:
    return now - timedelta(seconds=at)


def running(since: float, left: float | None = None, *, now: datetime = NOW, **fields) -> Job:
    """A job that runs since so many seconds, and for `left` more, between its half and twice it."""
    if left is not None:
        names = ("likely_end_at", "earliest_end_at", "latest_end_at")
        fields |= {
            name: ago(-left * factor, now) for name, factor in zip(names, (1, 0.5, 2), strict=True)
        }
    fields = {"heartbeat_at": now, "updated_at": now, "former_jobs": 5} | fields
    return Job(batch="a", status=JobStatus.RUNNING, started_at=ago(since, now), **fields)


def ended(began: float, took: float, now: datetime = NOW, **fields) -> Job:
    begins = ago(began, now)
    ends = begins + timedelta(seconds=took)
    fields = {"status": JobStatus.SUCCEEDED} | fields
    return Job(batch="a", started_at=begins, finished_at=ends, **fields)


def forecast(*jobs: Job, queued: int = 0, limit: int = 0) -> BatchForecastSchema:
    load = ActiveCounts(queued, sum(job.status == JobStatus.RUNNING for job in jobs), limit)
    return batch_forecast(jobs, load, NOW)


class TestForecast:
    def test_without_a_queue_it_is_that_of_the_last_running_job(self):
        found = forecast(running(10, 20), running(10, 40))
        assert (found.likely_ms, found.low_ms, found.high_ms) == (40_000, 20_000, 80_000)
        assert (found.at_once, found.reason) == (2, None)

    def test_queued_jobs_take_as_long_as_others_one_after_another(self):
        former = [ended(200, 30), ended(150, 50)]
        found = forecast(*former, running(20, 20), queued=3)
        assert found.likely_ms == 20_000 + 3 * 40_000
        assert found.low_ms < found.likely_ms < found.high_ms

    def test_as_many_as_run_now_are_expected_to_run_at_once(self):
        found = forecast(running(20, 20), running(10, 30), queued=4)
        assert (found.likely_ms, found.at_once) == (30_000 + 2 * 40_000, 2)

    def test_a_lower_limit_counts_as_soon_as_jobs_have_ended(self):
        jobs = [running(20, 20), running(10, 30)]
        assert forecast(*jobs, queued=1, limit=1).likely_ms == 70_000
        assert forecast(*jobs, queued=1, limit=9).likely_ms == 60_000

    def test_a_worker_that_has_just_ended_a_job_takes_the_next_one(self):
        found = forecast(ended(41, 40), running(20, 20), queued=1)
        assert (found.likely_ms, found.at_once) == (40_000, 2)
        assert forecast(ended(41, 40), queued=2).likely_ms == 80_000

    def test_a_worker_that_is_idle_for_longer_does_not_count(self):
        assert forecast(ended(100, 40), running(20, 20), queued=1).at_once == 1
        found = forecast(ended(100, 40), queued=2)
        assert (found.likely_ms, found.reason) == (0, ForecastReason.QUEUED)

    def test_a_job_without_a_forecast_is_expected_to_take_as_long_as_others(self):
        assert forecast(ended(100, 40), running(30)).likely_ms == 10_000
        assert forecast(ended(100, 40), running(90)).likely_ms == 10_000

    def test_a_job_without_progress_is_expected_to_be_done_again(self):
        stalled = running(500, 20, updated_at=ago(400))
        found = forecast(running(20, 20), stalled)
        assert (found.likely_ms, found.at_once) == (20_000 + 40_000, 1)

    def test_of_more_running_jobs_than_are_read_each_does_its_share(self):
        jobs = [running(20, 20) for _ in range(MAX_JOBS)]
        load = ActiveCounts(queued=4 * MAX_JOBS, running=4 * MAX_JOBS, max_running=0)
        found = batch_forecast(jobs, load, NOW)
        assert (found.likely_ms, found.at_once) == (60_000, 4 * MAX_JOBS)

    @pytest.mark.parametrize(
        ("jobs", "queued", "reason"),
        [
            ([], 3, ForecastReason.QUEUED),
            ([running(1)], 3, ForecastReason.STARTING),
            ([running(500, 9, updated_at=ago(400))], 3, ForecastReason.STALLED),
            ([running(500, 9, heartbeat_at=ago(400))], 3, ForecastReason.LOST),
            ([running(500, -9)], 0, ForecastReason.OVERDUE),
            ([running(500, 9, waiting_for="the model")], 3, ForecastReason.WAITING),
        ],
    )
    def test_it_is_unknown_for_a_reason(self, jobs, queued, reason):
        found = forecast(*jobs, queued=queued)
        assert (found.likely_ms, found.low_ms, found.high_ms) == (0, 0, 0)
        assert found.reason is reason

    def test_it_is_a_guess_while_no_job_has_ended_and_none_has_a_history(self):
        guess = running(20, 20, former_jobs=0)
        assert forecast(guess, queued=1).reason is ForecastReason.NO_HISTORY
        assert forecast(guess, ended(200, 40), queued=1).reason is None


class TestRemaining:
    @given(
        left=st.lists(seconds, max_size=9),
        took=st.lists(seconds, min_size=1, max_size=20),
        queued=st.integers(0, 10**7),
        places=st.integers(1, 9),
    )
    def test_more_workers_are_faster_and_more_jobs_take_longer(self, left, took, queued, places):
        jobs = [Remaining.within(each, 2.0) for each in left]
        found = batch_remaining(jobs, took, queued, places)
        assert 0 <= found.low <= found.likely <= found.high
        longer = batch_remaining(jobs, took, queued + places, places)
        assert longer.likely >= found.likely * (1 - 1e-6)
        faster = batch_remaining(jobs, took, queued, places + 1)
        assert faster.likely <= found.likely * (1 + 1e-6)

    def test_most_batches_of_uneven_jobs_end_within_the_range(self):
        """Four of five are meant to. Here the workers have a constant speed."""
        generator = random.Random(7)
        found = [_is_within(generator) for _ in range(200)]
        assert 0.75 <= sum(found) / len(found) <= 0.98


def _is_within(generator: random.Random) -> bool:
    """Whether a batch ends when it was forecast, halfway or earlier."""
    places = generator.choice([1, 2, 4, 8])
    free, jobs = [0.0] * places, []
    deviation = generator.choice([0.2, 0.5, 0.9])
    for _ in range(generator.choice([8, 20, 60])):
        start = heapq.heappop(free)
        jobs.append((start, start + generator.lognormvariate(3, deviation)))
        heapq.heappush(free, jobs[-1][1])
    now = max(free) * generator.choice([0.1, 0.25, 0.5])
    left = [
        Remaining.within((end - now) * generator.lognormvariate(0, 0.3), 1.5)
        for start, end in jobs
        if start <= now < end
    ]
    took = [end - start for start, end in jobs if end <= now]
    took += [now - start + rest.likely for rest, (start, _) in zip(
        left, [job for job in jobs if job[0] <= now < job[1]], strict=True
    )]  # fmt: skip
    queued = sum(start > now for start, _ in jobs)
    found = batch_remaining(left, took, queued, len(left))
    return found.low <= max(free) - now <= found.high


@pytest.mark.django_db
@pytest.mark.database
class TestProgress:
    def test_two_queries_read_the_newest_jobs_of_all_batches(self, django_assert_num_queries):
        now = database_now()
        names = ("a", "b", "c", "d")
        batches = [Batch.objects.create(pk=name) for name in names]
        jobs = [running(20, 20, now=now), running(5, 60, now=now)]
        jobs[0].batch = "b"
        jobs += [ended(1000 - number, 40, now) for number in range(MAX_JOBS + 20)]
        jobs += [ended(5000, 4000, now) for _ in range(20)]  # older ones do not count
        jobs += [Job(batch=name) for name in ("a", "a", "b", "c")]
        Job.objects.bulk_create(jobs)
        with django_assert_num_queries(2):
            found = batch_progress(Job.objects.all(), batches)
        likely = {name: each.forecast and each.forecast.likely_ms for name, each in found.items()}
        assert likely["c"] == 0
        assert likely["d"] is None
        assert likely["b"] == pytest.approx(60_000, abs=30_000)
        assert likely["a"] == pytest.approx(60_000 + 80_000, abs=30_000)

    def test_each_100_batches_cost_a_query(self, django_assert_num_queries, monkeypatch):
        monkeypatch.setattr(batch_forecasts, "BATCHES_PER_QUERY", 2)
        now = database_now()
        batches = [Batch.objects.create(pk=str(number)) for number in range(5)]
        for batch in batches:
            job = running(20, 20, now=now)
            job.batch = batch.pk
            job.save()
        with django_assert_num_queries(1 + 3):
            found = batch_progress(Job.objects.all(), batches)
        assert all(each.forecast.at_once == 1 for each in found.values())

    def test_a_batch_that_has_ended_costs_one_query_and_has_none(self, django_assert_num_queries):
        batch = Batch.objects.create(pk="a")
        ended(100, 40).save()
        with django_assert_num_queries(1):
            assert batch_progress(Job.objects.all(), [batch])["a"].forecast is None
