from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from ingestion_progress.exceptions import InvalidTransition, JobNotFound, JobNotRepeatable
from ingestion_progress.models import Checkpoint, Job
from ingestion_progress.recovery import retry_job
from ingestion_progress.tracker import fail_job, queue_job
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.endings import finish_attempt
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TASK = "ingestion_progress.pipeline.tasks.ingest_document"


def ended(status: str, *, failed_items: int = 0) -> Job:
    attempt = start_attempt(JobPlan("a.pdf", job_id="job", task=TASK, stages=["one"]))
    job = Job.objects.get()
    Checkpoint.objects.create(job=job, stage="one", ranges=[[0, 7]], failed=[9])
    job.stages.update(processed=8, total=10)
    finish_attempt(attempt, JobChanges(), job.job_status.__class__(status))
    Job.objects.update(failed_items=failed_items, failed_attempts=2)
    return Job.objects.get()


def test_a_retry_is_a_queued_attempt_whose_task_is_due():
    old = ended("failed")
    job = retry_job("job", by="anna")
    assert (job.status, job.attempt, job.failed_attempts) == ("queued", 2, 0)
    assert job.epoch != old.epoch
    assert job.retry_at <= timezone.now()
    assert "Retry requested by anna" in [event.message for event in job.events.all()]


@pytest.mark.parametrize(
    ("status", "only", "processed"),
    [("failed", "all", 8), ("lost", "all", 8), ("succeeded", "all", 0), ("succeeded", "failed", 8)],
)
def test_what_is_done_counts_again_except_after_a_success_that_is_repeated(status, only, processed):
    ended(status, failed_items=1)
    job = retry_job("job", only=only)
    assert job.stages.get().processed == processed
    assert not any(each.failed for each in job.checkpoints.all())


def test_only_failed_items_of_a_job_without_any_are_refused():
    ended("succeeded")
    with pytest.raises(InvalidTransition, match="none of its items failed"):
        retry_job("job", only="failed")


def test_a_job_that_waits_or_runs_is_not_retried():
    queue_job("a.pdf", job_id="job", task=TASK)
    with pytest.raises(InvalidTransition, match="queued and cannot be retried"):
        retry_job("job")
    start_attempt(JobPlan("a.pdf", job_id="job"))
    with pytest.raises(InvalidTransition, match="running and cannot be retried"):
        retry_job("job")


def test_a_job_whose_process_died_is_retried_at_once():
    start_attempt(JobPlan("a.pdf", job_id="job", task=TASK))
    Job.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
    job = retry_job("job")
    assert (job.status, job.attempt) == ("queued", 2)
    assert list(job.attempts.values_list("number", "status")) == [(1, "lost")]


def test_a_job_without_a_stored_task_names_the_remedy():
    queue_job("a.pdf", job_id="job")
    fail_job("job", "no reason")
    with pytest.raises(JobNotRepeatable, match="pass task="):
        retry_job("job")


def test_an_unknown_job_is_not_found():
    with pytest.raises(JobNotFound):
        retry_job("job")
