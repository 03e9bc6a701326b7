"""What readers see of a forecast, and when they see none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion_progress.models import Job
from ingestion_progress.models.statuses import ForecastReason, JobStatus
from ingestion_progress.wire.forecast.event import forecast_event
from ingestion_progress.wire.schemas import ForecastEventData

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def running(**fields: Any) -> Job:
    """At second 10, with 60 seconds left, 40 to 120."""
    known = {
        "id": "job",
        "status": JobStatus.RUNNING,
        "started_at": START,
        "heartbeat_at": at(10),
        "updated_at": at(10),
        "former_jobs": 5,
        "likely_end_at": at(70),
        "earliest_end_at": at(50),
        "latest_end_at": at(130),
    }
    return Job(**known | fields)


def shown(job: Job, now: datetime, percent: float = 14.0) -> ForecastEventData:
    event = forecast_event(job, percent, now)
    assert event is not None
    return event


def times(event: ForecastEventData) -> tuple[int, int, int]:
    return event.likely_ms, event.low_ms, event.high_ms


def test_what_was_computed_becomes_less_until_the_next_count():
    job = running()
    assert times(shown(job, at(10))) == (60_000, 40_000, 120_000)
    assert times(shown(job, at(25))) == (45_000, 25_000, 105_000)
    assert times(shown(job, at(25))) > times(shown(job, at(29)))
    assert (shown(job, at(25)).reason, shown(job, at(25)).former_jobs) == (None, 5)


def test_after_the_likely_end_the_rest_is_unknown():
    job = running(heartbeat_at=at(80))
    late = shown(job, at(80))
    assert (times(late), late.reason) == ((0, 0, 0), ForecastReason.OVERDUE)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": JobStatus.QUEUED, "created_at": at(0)}, "queued"),
        ({"status": JobStatus.QUEUED, "created_at": at(-9999)}, "queued"),
        ({"heartbeat_at": at(-100)}, "lost"),
        ({"updated_at": at(-1000)}, "stalled"),
        ({"updated_at": at(-1000), "waiting_for": "the model"}, "waiting"),
    ],
)
def test_a_job_that_does_not_move_has_no_forecast_however_long_it_lasts(fields, reason):
    job = running(likely_end_at=at(10**6), latest_end_at=at(10**7), **fields)
    for seconds in (10, 11):
        event = shown(job, at(seconds))
        assert (times(event), event.reason) == ((0, 0, 0), reason)


def test_where_former_jobs_do_not_help_the_reason_says_so():
    for job in (running(former_jobs=0), running(is_forecast_by_weights=True)):
        event = shown(job, at(10))
        assert (event.likely_ms, event.reason) == (60_000, "no_history")


def test_shortly_after_the_start_it_is_unknown():
    new = {"likely_end_at": None, "updated_at": at(0.5)}
    early = shown(running(former_jobs=0, **new), at(10))
    assert (times(early), early.reason) == ((0, 0, 0), "starting")


def test_a_writer_of_an_older_version_leaves_the_mean_speed_as_of_its_last_write():
    job = running(former_jobs=0, likely_end_at=None)
    assert times(shown(job, at(10), percent=25))[0] == 30_000
    assert times(shown(job, at(20), percent=25))[0] == 20_000


@pytest.mark.parametrize("status", sorted(JobStatus.final()))
def test_a_job_that_has_ended_has_none(status):
    assert forecast_event(running(status=status, finished_at=at(60)), 50.0, at(60)) is None


def test_each_reason_is_on_the_wire():
    reasons = ForecastEventData.model_json_schema()["properties"]["reason"]["anyOf"][0]["enum"]
    assert set(reasons) == set(ForecastReason.values)
