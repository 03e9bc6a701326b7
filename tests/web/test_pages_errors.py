"""The errors of a job on its page, and who did what with it."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ingestion_progress.models import Batch, Job, JobError
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker import fail_job, request_cancellation
from ingestion_progress.web.job_errors import GROUPS_SHOWN
from tests.support.page_jobs import job_with, page_of, retry_of, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TASK = "shop.tasks.ingest"


def error_of(job: Job, number: int, **fields) -> JobError:
    now = timezone.now()
    defaults = {
        "digest": f"{number}",
        "stage": "parsing",
        "kind": "NoText",
        "message": f"Message {number}",
        "count": 100 - number,
        "attempt": 1,
        "first_at": now - timedelta(minutes=3),
        "last_at": now,
        "examples": [{"item": "page 7", "message": f"Message {number} in full", "attempt": 1}],
    }
    return JobError.objects.create(job=job, **(defaults | fields))


def card_of(client) -> str:
    """The card of the errors, as text without entities; empty without one."""
    found = re.search(
        r'<section class="card attention".*?</section>',
        text_of(client, page_of("job-1")),
        re.DOTALL,
    )
    return unescape(found[0]) if found else ""


def test_errors_are_grouped_with_their_place_number_items_and_times(client):
    job = job_with(JobStatus.SUCCEEDED, failed_items=1200)
    error_of(job, 1, count=1200, message="Page <n> is a scan")
    card = card_of(client)
    for text in ("1,200 errors", "1,200\N{NO-BREAK SPACE}×", "Parsing", "NoText", "page 7, …"):
        assert text in card
    assert "<bdi>Page <n> is a scan</bdi>" in card
    assert "<bdi>Message 1 in full</bdi>" in card
    assert len(re.findall("<time ", card)) == 2
    assert (
        f'href="{reverse("ingestion_progress:api:job_errors", args=["job-1"])}?format=csv"' in card
    )


def test_page_has_no_card_without_errors_and_if_its_notice_says_it_all(client):
    job_with(JobStatus.QUEUED)
    assert card_of(client) == ""
    fail_job("job-1", "The disk is full.")
    assert JobError.objects.count() == 1
    assert card_of(client) == ""
    error_of(Job.objects.get(), 1)
    assert "of 2 kinds" in card_of(client)


def test_rare_errors_are_folded_and_resolved_ones_are_last(client):
    job = job_with()
    for number in range(GROUPS_SHOWN + 3):
        error_of(job, number)
    JobError.objects.filter(digest="0").update(resolved_at=timezone.now(), resolved_by="anna")
    shown, folded = card_of(client).split('<details class="error-more"')
    assert shown.count('<li class="error-group"') == GROUPS_SHOWN
    assert "<summary>3 more</summary>" in folded
    assert "Message 0" not in shown
    assert "Resolved by <bdi>anna</bdi>" in folded
    assert "1 resolved" in shown


def test_hostile_texts_are_escaped(client):
    hostile = "<script>alert(1)</script>"
    error_of(job_with(), 1, message=hostile, kind="<b>", stage="<i>", examples=[
        {"item": "<u>", "message": hostile, "attempt": 1}
    ])  # fmt: skip
    html = text_of(client, page_of("job-1"))
    assert not re.search("<script>|<b>|<i>|<u>", html)
    assert "&lt;script&gt;alert(1)" in html


def test_only_failed_items_are_offered_where_the_retry_is_possible(client, settings):
    error_of(job_with(JobStatus.SUCCEEDED, failed_items=3, task=TASK), 1)
    card = card_of(client)
    assert f'action="{retry_of("job-1")}"' in card
    assert '<button class="link-button" name="only" value="failed">' in card
    Job.objects.update(task="")
    assert 'name="only"' not in card_of(client)


def test_number_of_queries_does_not_depend_on_that_of_the_errors(client, django_assert_num_queries):
    job = job_with()
    with CaptureQueriesContext(connection) as without:
        client.get(page_of("job-1"))
    for number in range(20):
        error_of(job, number)
    with django_assert_num_queries(len(without)):
        client.get(page_of("job-1"))


def history_of(client) -> list[str]:
    html = text_of(client, page_of("job-1"))
    items = re.findall(r'<li data-key="[^"]*">(.*?)</li>', html.split('id="history"')[1])
    return [" ".join(unescape(re.sub("<[^>]+>", "", item)).split()) for item in items]


def test_page_says_who_created_started_and_cancelled_a_job_and_when(client):
    anna = User.objects.create_user("anna")
    job_with(owner=anna, owner_name="anna", started_by="bert")
    Job.objects.update(created_at=timezone.now() - timedelta(hours=2))
    request_cancellation("job-1", by="<carla>")
    assert history_of(client) == [
        "Created 2 h ago by anna",
        "Started 1 min ago by bert",
        "Cancellation requested just now by <carla>",
    ]


def test_page_says_who_retried_a_job(client):
    job_with(JobStatus.FAILED, task=TASK)
    client.force_login(User.objects.create_superuser("dora"))
    client.post(retry_of("job-1"))
    assert history_of(client) == ["Created 1 min ago", "Attempt 2 queued just now by dora"]


def resolution_of(error: JobError) -> str:
    args = [error.job_id, error.pk]
    return reverse("ingestion_progress:job_error_resolution", args=args)


def test_errors_are_resolved_and_opened_again_without_javascript(client):
    error = error_of(job_with(), 1)
    client.force_login(User.objects.create_superuser("dora"))
    assert f'action="{resolution_of(error)}"' in card_of(client)
    response = client.post(resolution_of(error))
    assert response["Location"] == page_of("job-1")
    assert "Resolved by <bdi>dora</bdi>" in card_of(client)
    client.post(resolution_of(error), {"open": "1"})
    assert "Resolved by" not in card_of(client)
    error.refresh_from_db()
    assert error.resolved_at is None
    for unknown in (error.pk + 1, 10**30):
        error.pk = unknown
        assert client.post(resolution_of(error)).status_code == 302


def test_reader_may_not_resolve_errors(client, settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    error = error_of(job_with(), 1)
    user = User.objects.create_user("anna")
    user.user_permissions.set(Permission.objects.filter(codename="view_job"))
    client.force_login(user)
    assert card_of(client)
    assert resolution_of(error) not in card_of(client)
    assert client.post(resolution_of(error)).status_code == 403
    assert client.get(resolution_of(error)).status_code == 405
    error.refresh_from_db()
    assert error.resolved_at is None


def test_page_of_a_job_names_its_batch(client):
    job = job_with(batch="b1")
    html = text_of(client, page_of(job.pk))
    assert '?batch=b1"><span>Batch <bdi>b1</bdi></span>' in html
    Batch.objects.update_or_create(id="b1", defaults={"name": "Contracts <2026>"})
    html = text_of(client, page_of(job.pk))
    assert '?batch=b1"><span>Batch <bdi>Contracts &lt;2026&gt;</bdi></span>' in html
