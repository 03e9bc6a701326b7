"""Retries, attempts and cancellations of jobs in the JSON API."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.models import Job, JobAttempt
from ingestion_progress.models.statuses import AttemptStatus, JobStatus
from ingestion_progress.tracker import fail_job, queue_job, request_cancellation
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.endings import finish_attempt
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.tracker.sql import write_changes
from tests.support.api import JOBS, refusal

pytestmark = [pytest.mark.django_db, pytest.mark.database]

URL = f"{JOBS}/over/retry"


def detail(client):
    return client.get(f"{JOBS}/over").json()


@pytest.fixture
def failed():
    queue_job("a.pdf", job_id="over", task="shop.tasks.ingest")
    fail_job("over", "The disk is full.")


def post(client, body=""):
    return client.post(URL, body, content_type="application/json")


def test_a_retry_queues_another_attempt(client, failed):
    response = post(client)
    assert response.status_code == 202
    assert (response.json()["status"], response.json()["attempt"]) == ("queued", 2)
    shown = detail(client)
    assert shown["next_attempt"] == {
        "job_id": "over",
        "attempt": 2,
        "max_attempts": 4,
        "due_at": Job.objects.get().retry_at.timestamp(),
        "reason": "",
    }
    (attempt,) = shown["attempts"]
    assert (attempt["number"], attempt["status"]) == (1, "failed")
    assert attempt["error"] == "The disk is full."


@pytest.mark.parametrize("body", ["{}", '{"only": "all"}', '{"only": "failed"}'])
def test_the_body_is_optional_and_may_name_the_failed_items(client, failed, body):
    assert post(client, body).status_code == 202


@pytest.mark.parametrize("body", ['{"only": "some"}', '{"onyl": "failed"}', "[]"])
def test_a_body_that_is_misspelt_is_refused(client, failed, body):
    refusal(post(client, body), 422, "invalid_request")
    assert Job.objects.get().status == JobStatus.FAILED


def test_a_job_that_waits_or_runs_is_a_conflict(client):
    queue_job("a.pdf", job_id="over", task="shop.tasks.ingest")
    refusal(post(client), 409, "job_active")
    start_attempt(JobPlan("a.pdf", job_id="over"))
    refusal(post(client), 409, "job_active")


def test_a_job_without_a_stored_task_is_a_conflict(client):
    queue_job("a.pdf", job_id="over")
    fail_job("over", "no reason")
    refusal(post(client), 409, "not_repeatable")


def test_a_success_without_failed_items_has_nothing_to_repeat(client):
    attempt = start_attempt(JobPlan("a.pdf", job_id="over", task="shop.tasks.ingest"))
    finish_attempt(attempt, JobChanges(), JobStatus.SUCCEEDED)
    refusal(post(client, '{"only": "failed"}'), 409, "nothing_failed")
    assert post(client, '{"only": "all"}').status_code == 202


def test_the_log_names_the_user_who_retries_and_cancels(client, settings, failed):
    settings.INGESTION_PROGRESS_PUBLIC = False
    client.force_login(User.objects.create_superuser("anna"))
    post(client)
    client.post(f"{JOBS}/over/cancellation")
    log = [event["message"] for event in client.get(f"{JOBS}/over/events").json()["items"]]
    assert "Retry requested by anna" in log
    assert "Cancellation requested by anna" in log
    cancellation = detail(client)["cancellation"]
    assert (cancellation["requested_by"], cancellation["took_seconds"]) == ("anna", 0)


def test_a_reader_may_not_retry(client, settings, failed):
    settings.INGESTION_PROGRESS_PUBLIC = False
    refusal(post(client), 401, "unauthorized")
    client.force_login(User.objects.create_user("reader"))
    refusal(post(client), 403, "forbidden")


def test_a_cancellation_is_requested_then_acknowledged_then_over(client):
    attempt = start_attempt(JobPlan("a.pdf", job_id="over"))
    assert detail(client)["cancellation"] is None
    client.post(f"{JOBS}/over/cancellation")
    requested = detail(client)["cancellation"]
    assert requested["requested_by"] == ""
    assert requested["acknowledged_at"] is requested["took_seconds"] is None

    write_changes(attempt, JobChanges())
    acknowledged = detail(client)["cancellation"]
    assert acknowledged["acknowledged_at"] >= requested["requested_at"]

    write_changes(attempt, JobChanges())
    earlier = timezone.now() - timedelta(seconds=3)
    Job.objects.update(cancel_requested_at=earlier)
    finish_attempt(attempt, JobChanges(), JobStatus.CANCELLED)
    over = detail(client)["cancellation"]
    assert over["acknowledged_at"] == acknowledged["acknowledged_at"]
    assert over["took_seconds"] >= 3


def test_a_cancelled_job_that_is_retried_is_not_cancelled(client, failed):
    post(client)
    request_cancellation("over")
    post(client)
    assert detail(client)["cancellation"] is None
    assert [attempt["status"] for attempt in detail(client)["attempts"]] == ["failed", "cancelled"]


def test_only_the_newest_attempts_are_sent_the_oldest_first(client, failed):
    now = timezone.now()
    JobAttempt.objects.bulk_create(
        JobAttempt(job_id="over", number=number, status=AttemptStatus.LOST, finished_at=now)
        for number in range(2, 151)
    )
    assert [each["number"] for each in detail(client)["attempts"]] == list(range(51, 151))


def test_codes_are_documented_with_their_statuses():
    for code in (ErrorCode.JOB_ACTIVE, ErrorCode.NOTHING_FAILED, ErrorCode.NOT_REPEATABLE):
        assert (code.status, code.area) == (409, "api")
