"""The bar of a job that succeeded, beside the usual duration of jobs with the same stages."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ingestion_progress.models import Job, JobSamples
from ingestion_progress.web.usual_durations import MAX_PLANS, duration_bar, usual_durations
from tests.support.page_jobs import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = reverse("ingestion_progress:job_list")
START = timezone.now() - timedelta(days=1)


def ended(
    job_id: str, seconds: float, *, plan: str = "a", status: str = "succeeded", attempt: int = 1
) -> Job:
    end = START + timedelta(seconds=seconds)
    job = Job.objects.create(
        id=job_id, document_name=f"{job_id}.pdf", status=status, started_at=START,
        finished_at=end, attempt=attempt,
    )  # fmt: skip
    has_succeeded = status == "succeeded"
    JobSamples.objects.create(
        job=job, attempt=1, plan=plan, succeeded_at=end if has_succeeded else None
    )
    return job


def test_usual_is_the_median_of_the_newest_other_jobs_with_the_same_plan(settings):
    settings.INGESTION_PROGRESS_FORMER_JOBS = 3
    jobs = [ended(f"job-{n}", 10 * n) for n in range(1, 7)]  # job-6 is the newest
    jobs.append(ended("other", 999, plan="b"))
    usual = usual_durations(jobs)
    assert usual == {
        **dict.fromkeys(["job-1", "job-2", "job-3"], 50_000),
        "job-4": 50_000,
        "job-5": 40_000,
        "job-6": 40_000,
    }


def test_jobs_that_did_not_succeed_or_have_no_times_have_no_usual(settings):
    former = ended("former", 10)
    retried = ended("retried", 10, attempt=2)
    others = [ended(status, 10, status=status) for status in ("failed", "cancelled", "lost")]
    assert usual_durations([former, retried, *others]) == {}
    ended("latest", 10)
    assert usual_durations([former, retried, *others]) == {"former": 10_000}
    settings.INGESTION_PROGRESS_FORMER_JOBS = 0
    assert usual_durations([former]) == {}


@pytest.mark.parametrize("plans", [1, 3, 2 * MAX_PLANS])
def test_a_page_of_jobs_costs_two_queries(plans):
    jobs = [ended(f"job-{n}", 10, plan=f"plan-{n % plans}") for n in range(4 * MAX_PLANS)]
    with CaptureQueriesContext(connection) as queries:
        assert usual_durations(jobs)
    assert len(queries) == 2


@pytest.mark.parametrize(
    ("took", "usual", "percent"), [(0, 8, 0), (4, 8, 25), (8, 8, 50), (16, 8, 100), (99, 8, 100)]
)
def test_bar_of_the_usual_duration_is_half_as_long(took, usual, percent):
    bar = duration_bar(took * 1000, usual * 1000)
    assert bar is not None
    assert bar["percent"] == percent
    assert duration_bar(took * 1000, 0) is None


def test_list_shows_the_bar_with_its_text(client):
    for job_id, seconds in (("one", 125), ("two", 125), ("three", 151)):
        ended(job_id, seconds)
    ended("alone", 60, plan="b")
    ended("stopped", 60, status="cancelled")
    rows = dict(re.findall(r'data-job="(\w+)"(.*?)</li>', text_of(client, LIST), re.DOTALL))
    text = "2\xa0min\xa031\xa0s, now usual 2\xa0min\xa005\xa0s"
    assert f'aria-label="{text}"' in rows["three"]
    assert '<rect class="duration" width="60"' in rows["three"]
    assert "now usual 2\xa0min\xa018\xa0s" in rows["one"]
    assert all("usual" not in rows[each] for each in ("alone", "stopped"))
