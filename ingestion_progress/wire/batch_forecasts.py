"""When a batch will end: by the forecasts of its running jobs, and by how long its jobs take."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import mean

from django.db.models import QuerySet
from pydantic import BaseModel, Field

from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.statuses import ForecastReason, JobStatus, Liveness
from ingestion_progress.wire.forecast import Remaining
from ingestion_progress.wire.forecast.estimates import LEAST_SHARE_LEFT
from ingestion_progress.wire.forecast.history import LEAST_SECONDS, USUAL_DEVIATION, USUAL_JOBS
from ingestion_progress.wire.forecast.remaining import LEAST_VARIANCE, RANGE_DEVIATIONS

# Of one batch the newest jobs are read: this many that run, and this many that have ended.
MAX_JOBS = 100
# A worker begins its next job within this time after the last one: the poll of the task queue,
# or the rescue pass that starts a job which waits for its batch.
GAP = timedelta(seconds=5)
# SQLite allows 500 SELECTs in one UNION, and a batch needs two.
BATCHES_PER_QUERY = 100
# Steps of the search for an end; each halves the range.
STEPS = 30
COLUMNS = (
    *("batch", "status", "created_at", "started_at", "finished_at", "heartbeat_at", "updated_at"),
    *("waiting_for", "former_jobs", "likely_end_at", "earliest_end_at", "latest_end_at"),
)


class BatchForecastSchema(BaseModel):
    """When the last job of a batch will end."""

    likely_ms: int = Field(default=0, ge=0, description="The remaining time; 0: unknown.")
    low_ms: int = Field(default=0, ge=0)
    high_ms: int = Field(default=0, ge=0, description="80 of 100 batches end between both.")
    at_once: int = Field(default=0, ge=0, description="Jobs that are expected to run at once.")
    reason: ForecastReason | None = Field(
        default=None, description="Why the time is unknown or a guess, as of a job."
    )


@dataclass(frozen=True, slots=True)
class ActiveCounts:
    """The jobs that are left of a batch, and its limit."""

    queued: int
    running: int
    max_running: int
    """0: no limit."""


def batch_forecasts(
    jobs: JobQuerySet, active: Mapping[str, ActiveCounts]
) -> dict[str, BatchForecastSchema]:
    """The forecast of each of these batches, which have jobs that are queued or running, by the
    jobs that the viewer sees. One query for each 100 batches.
    """
    found: defaultdict[str, list[Job]] = defaultdict(list)
    batches = list(active)
    for start in range(0, len(batches), BATCHES_PER_QUERY):
        for job in _newest(jobs, batches[start : start + BATCHES_PER_QUERY]):
            found[job.batch].append(job)
    now = database_now()
    return {batch: batch_forecast(found[batch], counts, now) for batch, counts in active.items()}


def _newest(jobs: JobQuerySet, batches: Iterable[str]) -> QuerySet[Job]:
    """The newest jobs of each batch that run, and that have run until they succeeded or failed."""
    have_run = jobs.filter(started_at__isnull=False)
    chosen = []
    for batch in batches:
        of_batch = have_run.of_batch(batch)
        ended = of_batch.filter(status__in=[JobStatus.SUCCEEDED, JobStatus.FAILED])
        chosen += [of_batch.running().order_by("-started_at"), ended.order_by("-finished_at")]
    # SQLite permits the limit in an inner query only.
    arms = [
        Job.objects.filter(pk__in=each.values("pk")[:MAX_JOBS]).order_by().only(*COLUMNS)
        for each in chosen
    ]
    return arms[0].union(*arms[1:], all=True)


def batch_forecast(jobs: Iterable[Job], counts: ActiveCounts, now: datetime) -> BatchForecastSchema:
    """`jobs` run, or have run until they succeeded or failed."""
    listed = list(jobs)
    running = [job for job in listed if job.job_status is JobStatus.RUNNING]
    ended = [job for job in listed if job.finished_at]
    working = [job for job in running if _is_moving(job, now)]
    # If not all running jobs were read, they do their share of the rest.
    share = min(1.0, len(running) / counts.running) if running and counts.running else 1.0
    places = max(len(working), _running_before_last_end(listed, now))
    places = min(places, math.ceil(counts.max_running * share) or places)
    if not places:
        return BatchForecastSchema(reason=_reason_of_rest(running, now))
    at_once = round(places / share)
    took = [seconds for job in (*ended, *working) if (seconds := _seconds(job)) > 0]
    if not took:
        return BatchForecastSchema(at_once=at_once, reason=ForecastReason.STARTING)
    # One without progress is expected to be done again, and occupies no worker.
    queued = math.ceil(counts.queued * share) + len(running) - len(working)
    left = batch_remaining([_left(job, took, now) for job in working], took, queued, places)
    if left.likely <= 0:
        return BatchForecastSchema(at_once=at_once, reason=ForecastReason.OVERDUE)
    is_guess = not ended and not any(job.former_jobs for job in working)
    return BatchForecastSchema(
        likely_ms=round(left.likely * 1000),
        low_ms=round(left.low * 1000),
        high_ms=round(left.high * 1000),
        at_once=at_once,
        reason=ForecastReason.NO_HISTORY if is_guess else None,
    )


def batch_remaining(
    running: Sequence[Remaining], took: Sequence[float], queued: int, places: int
) -> Remaining:
    """Seconds until the last job ends, if each of the places takes a queued job when it is free.

    `running`: the time left of each job that runs; `took`: the seconds of other jobs, at least one.
    A sum of many jobs is more certain than one job, but not than the mean that is known of them.
    """
    each = mean(took)
    jobs_of_place = max(1.0, queued / places)
    variance = _variance(took) * (1 / len(took) + 1 / jobs_of_place) + LEAST_VARIANCE
    factor = math.exp(RANGE_DEVIATIONS * math.sqrt(variance))
    return Remaining(
        _last_end([job.likely for job in running], each, queued, places),
        _last_end([job.low for job in running], each / factor, queued, places),
        _last_end([job.high for job in running], each * factor, queued, places),
    )


def _last_end(running: Sequence[float], seconds: float, queued: int, places: int) -> float:
    """`seconds`: of each queued job. Of more running jobs than places, the first ends free none."""
    ends = sorted(max(0.0, left) for left in running)
    free = [*([0.0] * (places - len(ends))), *ends[max(0, len(ends) - places) :]]
    if not queued or seconds <= 0:
        return max(free)
    before, after = free[0], free[-1] + seconds * math.ceil(queued / places)
    for _ in range(STEPS):
        middle = (before + after) / 2
        if sum(int((middle - at) / seconds) for at in free if at < middle) < queued:
            before = middle
        else:
            after = middle
    return max(after, free[-1])


def _variance(took: Sequence[float]) -> float:
    """The variance of the logarithm of one duration, as in the history of a job."""
    logs = [math.log(max(seconds, LEAST_SECONDS)) for seconds in took]
    middle = mean(logs)
    squares = sum((log - middle) ** 2 for log in logs) + USUAL_JOBS * USUAL_DEVIATION**2
    return squares / (len(logs) + USUAL_JOBS)


def _seconds(job: Job) -> float:
    """How long its attempt took or is expected to take; 0 if that is unknown."""
    end = job.finished_at or job.likely_end_at
    return (end - job.started_at).total_seconds() if end and job.started_at else 0.0


def _left(job: Job, took: Sequence[float], now: datetime) -> Remaining:
    """By its forecast or, while it has none, as much as others took."""
    ends = (job.likely_end_at, job.earliest_end_at, job.latest_end_at)
    left = [(end - now).total_seconds() for end in ends if end is not None]
    if len(left) == len(ends):
        return Remaining(*left)
    usual = mean(took)
    elapsed = (now - (job.started_at or now)).total_seconds()
    likely = max(usual - elapsed, usual * LEAST_SHARE_LEFT)
    return Remaining.within(likely, math.exp(RANGE_DEVIATIONS * math.sqrt(_variance(took))))


def _running_before_last_end(jobs: Sequence[Job], now: datetime) -> int:
    """How many ran then, if a worker may still be about to begin its next job; otherwise 0."""
    last = max((job.finished_at for job in jobs if job.finished_at), default=None)
    if last is None or now - last > GAP:
        return 0
    return sum(
        1 for job in jobs
        if job.started_at and job.started_at < last and (job.finished_at or last) >= last
    )  # fmt: skip


def _is_moving(job: Job, now: datetime) -> bool:
    return job.liveness(now) is Liveness.WORKING and not job.awaited_service(now)


def _reason_of_rest(running: Sequence[Job], now: datetime) -> ForecastReason:
    """Why nothing is expected to go on."""
    found = {job.liveness(now) for job in running}
    if Liveness.WORKING in found:
        return ForecastReason.WAITING
    if Liveness.STALLED in found:
        return ForecastReason.STALLED
    return ForecastReason.LOST if found else ForecastReason.QUEUED
