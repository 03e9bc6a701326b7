"""A worker whose job does not stop after a cancellation."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from django.utils import timezone

from ingestion_progress.models import Job
from ingestion_progress.pipeline import maintenance
from ingestion_progress.tracker import request_cancellation
from ingestion_progress.tracker.attempts import this_process
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def cancel(*, seconds_ago: float, writer: str | None = None) -> None:
    request_cancellation("job")
    requested_at = timezone.now() - timedelta(seconds=seconds_ago)
    Job.objects.update(cancel_requested_at=requested_at, writer=writer or this_process())


@pytest.mark.parametrize(
    ("limit", "requested", "exits"),
    [
        (30, {"seconds_ago": 40}, True),
        (30, {"seconds_ago": 20}, False),
        (30, None, False),
        (30, {"seconds_ago": 40, "writer": "elsewhere/1"}, False),
        (0, {"seconds_ago": 40}, False),
    ],
)
def test_worker_exits_if_its_own_job_has_not_stopped_in_time(
    monkeypatch, settings, limit, requested, exits
):
    settings.INGESTION_PROGRESS_CANCEL_LIMIT_SECONDS = limit
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    start_attempt(JobPlan("a.pdf", job_id="job", task="shop.ingest"))
    if requested:
        cancel(**requested)
    maintenance._exit_if_a_cancelled_job_goes_on()
    assert codes == [1] * exits
    assert Job.objects.get().status == ("cancelled" if exits else "running")
