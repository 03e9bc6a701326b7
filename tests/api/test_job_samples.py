"""`GET …/jobs/{job_id}/samples`."""

from __future__ import annotations

import pytest

from ingestion_progress import track
from ingestion_progress.models import JobSamples
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import queue_job
from tests.support.api import JOBS, refusal

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SAMPLES = f"{JOBS}/job/samples"


def ingest() -> None:
    with synchronous_tracking(), track("a.pdf", job_id="job", stages=["one"], restart=True) as job:
        with job.stage("one", total=2) as stage:
            stage.advance(2)


def test_the_newest_attempt_is_shown_unless_another_is_named(client):
    ingest()
    ingest()
    newest = client.get(SAMPLES).json()
    assert (newest["attempt"], newest["stages"]) == (2, ["one"])
    last = newest["samples"][-1]
    assert (last["processed"], last["total"]) == ([2], [2])
    assert (last["busy_workers"], last["queue_depth"]) == (0, 0)
    assert client.get(SAMPLES, {"attempt": 1}).json()["attempt"] == 1


def test_a_job_that_has_not_started_has_no_samples(client):
    queue_job("a.pdf", job_id="job")
    assert client.get(SAMPLES).json() == {"attempt": 1, "stages": [], "samples": []}
    assert client.get(SAMPLES, {"attempt": 7}).json()["samples"] == []


def test_what_an_older_version_did_not_store_is_null(client):
    job = queue_job("a.pdf", job_id="job")
    JobSamples.objects.create(job=job, attempt=1, stages=["one"], samples=[[9, 5.0, [1], [2]]])
    (sample,) = client.get(SAMPLES).json()["samples"]
    assert [sample[each] for each in ("remaining_ms", "busy_workers", "queue_depth")] == [None] * 3


def test_unknown_jobs_and_attempts_are_refused(client):
    refusal(client.get(SAMPLES), 404, "not_found")
    queue_job("a.pdf", job_id="job")
    refusal(client.get(SAMPLES, {"attempt": 0}), 422, "invalid_request")
    refusal(client.get(SAMPLES, {"attempt": 10**30}), 422, "invalid_request")


def test_the_rules_of_access_are_those_of_the_job(client, settings):
    queue_job("a.pdf", job_id="job")
    settings.INGESTION_PROGRESS_PUBLIC = False
    assert client.get(SAMPLES).status_code == 401
