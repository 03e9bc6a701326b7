"""The stages of attempts that have ended, on the page of their job."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from ingestion_progress.models import JobAttempt
from ingestion_progress.models.attempts import StageRecord
from ingestion_progress.models.statuses import AttemptStatus
from ingestion_progress.web.attempt_timeline import attempt_timeline
from tests.support.page_jobs import job_with, page_of, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

STAGES: list[StageRecord] = [
    {
        "name": "parsing",
        "status": "completed",
        "span_ms": [0, 5_000],
        "processed": 9,
        "total": 9,
        "failed": 0,
        "unit": "pages",
    },
    {
        "name": "embedding",
        "status": "error",
        "span_ms": [5_000, 20_000],
        "processed": 3,
        "total": 40,
        "failed": 2,
        "unit": "chunks",
    },
    {
        "name": "extraction",
        "status": "not_run",
        "span_ms": None,
        "processed": 0,
        "total": 0,
        "failed": 0,
        "unit": "",
    },
]


def lost_attempt(**fields: Any) -> JobAttempt:
    now = timezone.now()
    times = {"started_at": now - timedelta(seconds=20), "finished_at": now}
    values = times | {"number": 1, "status": AttemptStatus.LOST, "error": "Why"} | fields
    return JobAttempt.objects.create(job=job_with(attempt=2), **values)


def test_bars_are_shares_of_the_time_of_the_attempt():
    timeline = attempt_timeline(lost_attempt(stages=STAGES))
    assert [stage["time"]["bar"] for stage in timeline["stages"]] == [
        *(("0.00", "25.00"), ("25.00", "75.00"), ("0", "0"))
    ]
    assert [text for _, text, _ in timeline["axis"]["labels"]] == [
        *("0", "5\N{NO-BREAK SPACE}s", "10\N{NO-BREAK SPACE}s"),
        *("15\N{NO-BREAK SPACE}s", "20\N{NO-BREAK SPACE}s"),
    ]


def test_page_says_where_an_attempt_stopped(client):
    lost_attempt(stages=STAGES)
    html = text_of(client, page_of("job-1"))
    (timeline,) = re.findall(r'<details class="attempt-timeline">.*?</details>', html, re.DOTALL)
    assert "Stages of attempt 1" in timeline
    assert re.findall(r"<bdi>(.*?)</bdi>", timeline) == [
        *("Parsing", "9 pages"),
        *("Embedding", "Stopped at 3 of 40 chunks · 2 failed"),
        "Extraction",
    ]
    assert "Not run" in timeline


def test_attempt_that_an_older_version_ended_has_no_bars_and_says_so(client):
    lost_attempt(stages=None)
    html = text_of(client, page_of("job-1"))
    assert '<details class="attempt-timeline">' not in html
    assert "An older version did not store when its stages ran." in html


def test_attempt_that_never_started_has_no_bars_and_no_note(client):
    lost_attempt(stages=STAGES, started_at=None)
    html = text_of(client, page_of("job-1"))
    assert "attempt-timeline" not in html
