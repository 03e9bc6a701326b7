from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.models import Job
from ingestion_progress.recovery import mark_lost
from ingestion_progress.tracker import queue_job, request_cancellation
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.tracker.sql import write_changes

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TASK = "ingestion_progress.pipeline.tasks.ingest_document"


def start(*, task: str = TASK, silent_seconds: float = 0):
    attempt = start_attempt(JobPlan("a.pdf", job_id="job", task=task))
    Job.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=silent_seconds))
    return attempt


def test_a_job_with_a_task_is_queued_again_as_after_a_rescue():
    old = start(silent_seconds=17)
    assert mark_lost(["job"], by="anna") == {}
    job = Job.objects.get()
    assert (job.status, job.attempt, job.failed_attempts) == ("queued", 2, 1)
    assert job.attempts.get().error == "Marked as lost by anna."
    assert "Lost: Marked as lost by anna." in [event.message for event in job.events.all()]
    with pytest.raises(JobSuperseded):
        write_changes(old, JobChanges())


def test_a_recent_sign_of_life_is_refused_unless_the_caller_insists():
    start(task="")
    assert "has just sent a sign of life" in str(mark_lost(["job"])["job"])
    assert Job.objects.get().status == "running"
    assert mark_lost(["job"], even_if_alive=True) == {}
    assert (Job.objects.get().status, Job.objects.get().error) == ("lost", "Marked as lost.")


def test_only_running_jobs_are_marked():
    queue_job("a.pdf", job_id="job", task=TASK)
    refused = mark_lost(["job", "gone"], even_if_alive=True)
    assert "is queued and cannot be marked as lost" in str(refused["job"])
    assert "not found" in str(refused["gone"])


def test_a_job_that_is_to_be_cancelled_is_cancelled():
    start(silent_seconds=17)
    request_cancellation("job")
    mark_lost(["job"])
    assert Job.objects.get().status == "cancelled"
