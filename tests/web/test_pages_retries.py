"""Retries and attempts on the pages."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ingestion_progress.models import Job, JobAttempt
from ingestion_progress.models.statuses import AttemptStatus, JobStatus
from ingestion_progress.tracker import fail_job
from tests.support.page_jobs import job_with, page_of, retry_of, text_of, visible_notice

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = reverse("ingestion_progress:job_list")
TASK = "shop.tasks.ingest"
ENDINGS = [status for status in JobStatus if status.is_final]


def buttons(html: str) -> list[tuple[str, str]]:
    """Value and text of each button that retries the job."""
    return re.findall(r'<button[^>]* name="only" value="(\w+)">(.*?)</button>', html)


# Retries


@pytest.mark.parametrize("status", ENDINGS)
def test_page_of_an_ended_job_offers_a_retry(client, status):
    job_with(status, task=TASK)
    assert buttons(text_of(client, page_of("job-1"))) == [("all", "Retry")]


def test_success_with_failed_items_also_offers_these_items(client):
    job_with(JobStatus.SUCCEEDED, task=TASK, failed_items=3)
    html = text_of(client, page_of("job-1"))
    assert buttons(html) == [("failed", "Retry failed items"), ("all", "Retry")]


@pytest.mark.parametrize(
    ("status", "task"),
    [(JobStatus.QUEUED, TASK), (JobStatus.RUNNING, TASK), (JobStatus.FAILED, "")],
)
def test_no_retry_is_offered_before_the_end_or_without_a_task(client, status, task):
    job_with(status, task=task)
    assert buttons(text_of(client, page_of("job-1"))) == []


def test_retry_queues_the_job_and_shows_what_it_waits_for(client):
    job_with(JobStatus.QUEUED, task=TASK)
    fail_job("job-1", "The disk is full.")
    html = client.post(retry_of("job-1"), {"only": "all"}, follow=True).content.decode()
    assert Job.objects.get().attempt == 2
    assert visible_notice(html) == "next_attempt"
    assert "Waiting to start again: attempt 2 of 4, due now." in html
    assert re.search(r"Attempt 1</span>\s*<span[^>]*>Failed<", html)


def test_form_can_name_the_failed_items(client):
    job_with(JobStatus.SUCCEEDED, task=TASK)
    html = client.post(retry_of("job-1"), {"only": "failed"}, follow=True).content.decode()
    assert "none of its items failed" in html
    assert client.post(retry_of("job-1"), {"only": "some"}).status_code == 400
    assert Job.objects.get().status == JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("status", "task", "reason"),
    [(JobStatus.QUEUED, TASK, "is queued"), (JobStatus.FAILED, "", "no stored task")],
)
def test_refused_retry_is_a_warning(client, status, task, reason):
    job_with(status, task=task)
    html = client.post(retry_of("job-1"), follow=True).content.decode()
    assert re.search(rf'data-level="warning"><bdi>[^<]*{reason}', html)


@pytest.mark.parametrize("job_id", ["nobody", "\x00"])
def test_retry_of_a_missing_job_is_404(client, job_id):
    assert client.post(retry_of(job_id)).status_code == 404


def test_retry_needs_post_and_a_token(client):
    job_with(JobStatus.FAILED, task=TASK)
    assert client.get(retry_of("job-1")).status_code == 405
    assert Client(enforce_csrf_checks=True).post(retry_of("job-1")).status_code == 403
    assert Job.objects.get().status == JobStatus.FAILED


def test_reader_may_not_retry_and_the_log_names_an_operator(client, settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    job_with(JobStatus.FAILED, task=TASK)
    user = User.objects.create_user("anna")
    user.user_permissions.set(Permission.objects.filter(codename="view_job"))
    client.force_login(user)
    assert buttons(text_of(client, page_of("job-1"))) == []
    assert client.post(retry_of("job-1")).status_code == 403
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_job", "start_job"]))
    client.post(retry_of("job-1"))
    assert Job.objects.get().events.filter(message="Retry requested by anna").exists()


# Attempts


def test_job_that_was_lost_waits_to_continue(client):
    job_with(
        JobStatus.QUEUED,
        attempt=2,
        failed_attempts=1,
        queued_at=timezone.now(),
        retry_at=timezone.now() + timedelta(seconds=65),
        error="Its worker process disappeared.",
    )
    html = text_of(client, page_of("job-1"))
    assert visible_notice(html) == "next_attempt"
    assert "Waiting to continue: attempt 2 of 3, due in 1\u00a0min\u00a004\u00a0s." in html
    assert '<bdi data-field="job.error">Its worker process disappeared.</bdi>' in html


def test_later_attempt_that_no_worker_takes_is_starved(client):
    long_ago = timezone.now() - timedelta(hours=1)
    job_with(JobStatus.QUEUED, attempt=2, queued_at=long_ago)
    assert visible_notice(text_of(client, page_of("job-1"))) == "liveness-starved"


def test_page_lists_how_earlier_attempts_ended(client):
    now = timezone.now()
    job = job_with(attempt=3)
    ended = {"started_at": now - timedelta(seconds=72), "finished_at": now}
    for number, status in enumerate(["lost", "interrupted", "failed"], 1):
        JobAttempt.objects.create(
            job=job, number=number, status=AttemptStatus(status), error="Why <b>", **ended
        )
    html = text_of(client, page_of("job-1"))
    shown = re.findall(r"<span>(Attempt \d)</span>\s*<span[^>]*>(.*?)<", html)
    assert shown == [("Attempt 1", "Lost"), ("Attempt 2", "Handed back")]
    assert "after 1\u00a0min\u00a012\u00a0s: <bdi>Why &lt;b&gt;</bdi>" in html


def test_first_attempt_has_no_list_of_attempts(client):
    job_with()
    assert "Earlier attempts" not in text_of(client, page_of("job-1"))


def test_list_tells_which_attempt_it_is(client):
    job_with(job_id="first", status=JobStatus.FAILED, error="Why")
    job_with(job_id="later", status=JobStatus.FAILED, error="Why", attempt=2)
    notes = re.findall(r'data-field="job.note">(.*?)<', text_of(client, LIST))
    assert sorted(notes) == ["Attempt 2 · Why", "Why"]
