"""Retries, attempts and cancellations of jobs in the admin."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.recovery import retry_job
from ingestion_progress.tracker import fail_job, queue_job, request_cancellation
from tests.admin.test_admin import LIST, act, page, staff

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TASK = "shop.tasks.ingest"


def failed(count: int, *, task: str = TASK) -> list[Job]:
    for number in range(count):
        queue_job(f"{number}.pdf", job_id=f"job-{number}", task=task, stages=["one"])
        fail_job(f"job-{number}", "The disk is full.")
    return list(Job.objects.all())


def offered(html: str) -> list[str]:
    return re.findall(r'<button class="button" name="action" value="(\w+)"', html)


def test_retrying_names_the_jobs_that_cannot_be_retried(admin_client: Client) -> None:
    jobs = failed(2)
    jobs.append(queue_job("a.pdf", job_id="waiting", task=TASK))
    html = act(admin_client, "retry_selected", *jobs).content.decode()
    assert "Queued again: 2 jobs." in html
    assert "Could not be retried: 1 job. Job waiting is queued and cannot be retried" in html
    assert {(job.status, job.attempt) for job in Job.objects.exclude(pk="waiting")} == {
        ("queued", 2)
    }
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == {"job-0", "job-1"}
    messages = {event.message for event in jobs[0].events.all()}
    assert "Retry requested by admin" in messages


def test_only_failed_items_are_retried_of_a_success(admin_client: Client) -> None:
    (job,) = failed(1)
    Job.objects.update(status=JobStatus.SUCCEEDED)
    html = act(admin_client, "retry_failed_items", job).content.decode()
    assert "none of its items failed" in html
    Job.objects.update(failed_items=3)
    assert "Queued again: 1 job." in act(admin_client, "retry_failed_items", job).content.decode()


def test_page_offers_what_can_be_done(admin_client: Client) -> None:
    (job,) = failed(1)

    def shown() -> list[str]:
        return offered(admin_client.get(page(job)).content.decode())

    assert shown() == ["retry_selected"]
    Job.objects.update(status=JobStatus.SUCCEEDED, failed_items=1)
    assert shown() == ["retry_failed_items", "retry_selected"]
    Job.objects.update(task="")
    assert shown() == []
    Job.objects.update(status=JobStatus.QUEUED, finished_at=None)
    assert shown() == ["cancel_jobs"]


def test_retrying_requires_the_permission_to_start_jobs() -> None:
    (job,) = failed(1)
    viewer = staff("view_job")
    assert offered(viewer.get(page(job)).content.decode()) == []
    act(viewer, "retry_selected", job)
    assert Job.objects.get().status == JobStatus.FAILED


def test_page_shows_ended_attempts_and_who_cancelled(admin_client: Client) -> None:
    (job,) = failed(1)
    retry_job(job.pk)
    request_cancellation(job.pk, by="anna")
    html = admin_client.get(page(job)).content.decode()
    assert "The disk is full." in html
    assert re.findall(r"progress-mark-(\w+)[^>]*>(\w+)</span></td>\s*<td[^>]*started", html) == [
        ("cancelled", "Cancelled"),
        ("failed", "Failed"),
    ]
    assert re.search(r"cancel_requested_by.*?anna", html, re.DOTALL)


@pytest.mark.parametrize(
    ("action", "per_job"), [("cancel_jobs", 0), ("retry_selected", 1), ("retry_failed_items", 1)]
)
def test_ten_jobs_more_cost_few_statements_more(admin_client, settings, action, per_job) -> None:
    def statements(count: int) -> int:
        Job.objects.all().delete()
        jobs = failed(count)
        if action == "cancel_jobs":
            for job in jobs:
                retry_job(job.pk)
        data = {"action": action, "_selected_action": [job.pk for job in jobs]}
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.post(LIST, data).status_code == 302
        assert Job.objects.filter(status=JobStatus.FAILED).count() == 0
        return len(captured)

    statements(1)  # reads the content type, once per process
    assert statements(15) - statements(5) == 10 * per_job


def test_jobs_of_the_user_who_is_logged_in_can_be_listed(admin_client: Client) -> None:
    admin = User.objects.get(username="admin")
    queue_job("mine.pdf", owner=admin, metadata={"team": "legal"})
    queue_job("other.pdf")
    html = admin_client.get(LIST, {"owned_by": "me"}).content.decode()
    assert "mine.pdf" in html
    assert "other.pdf" not in html
    html = admin_client.get(page(Job.objects.get(document_name="mine.pdf"))).content.decode()
    assert "legal" in html
    assert re.search(r"field-owned_by.*?>admin<", html, re.DOTALL)
