"""`manage.py forecast_report`."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from ingestion_progress.models import Job, JobSamples
from ingestion_progress.wire.forecast import History

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def report(*options: str) -> str:
    output = StringIO()
    call_command("forecast_report", *options, stdout=output)
    return output.getvalue()


def ended(job_id: str, likely: int | None, *, former_jobs: int = 5) -> None:
    JobSamples.objects.create(
        job=Job.objects.create(id=job_id),
        attempt=1,
        history=History(former_jobs=former_jobs).to_json(),
        scores=[[percent, 1000, likely, 500, 2000, 3000] for percent in (10, 25, 50, 75)],
        succeeded_at=timezone.now(),
    )


def test_without_jobs_it_says_so():
    assert "No job" in report()


def test_jobs_with_and_without_history_have_separate_tables():
    ended("one", 900)
    ended("two", 800)
    ended("first", None, former_jobs=0)
    text = report()
    assert "2 jobs with a history" in text
    assert "1 jobs without history" in text
    found = json.loads(report("--json"))
    assert found["with_history"]["50"]["median_error"] == 15
    assert found["with_history"]["50"]["linear_median_error"] == 100
    assert found["without_history"]["50"]["mean_error"] == 100


def test_only_the_newest_jobs_are_compared():
    ended("old", 100)
    ended("new", 1000)
    assert json.loads(report("--json", "--last", "1"))["with_history"]["25"]["mean_error"] == 0
    assert "No job" in report("--last", "0")
