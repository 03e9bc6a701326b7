from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from ingestion_progress.models import JobEvent
from ingestion_progress.statuses import JobStatus
from ingestion_progress.views.pages import EVENTS_SHOWN, PAGE_SIZE
from tests.page_jobs import cancellation_of, job_with, page_of, text_of, visible_notice

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = reverse("ingestion_progress:job_list")


# The list


@pytest.mark.parametrize("count", [1, PAGE_SIZE])
def test_list_asks_the_database_four_times_however_long_it_is(
    client, django_assert_num_queries, count
):
    for number in range(count):
        job_with(job_id=f"job-{number}")
    with django_assert_num_queries(4):
        client.get(LIST)


def test_list_shows_the_newest_job_first(client):
    now = timezone.now()
    for number in range(3):
        job_with(job_id=f"job-{number}", created_at=now - timedelta(minutes=number))
    assert re.findall(r'data-job="([\w-]+)"', text_of(client, LIST)) == ["job-0", "job-1", "job-2"]


def test_list_is_bounded_and_leads_to_the_older_jobs(client):
    for number in range(PAGE_SIZE + 1):
        job_with(job_id=f"job-{number}", status=JobStatus.FAILED)
    first, second = text_of(client, f"{LIST}?status=failed"), text_of(client, f"{LIST}?page=2")
    assert first.count('class="job"') == PAGE_SIZE + 1  # one of them is the template
    assert 'href="?status=failed&amp;page=2"' in first
    assert second.count('class="job"') == 2


@pytest.mark.parametrize("page", ["0", "-1", "99999999999999999999", "two", "\x00"])
def test_page_number_that_does_not_exist_shows_one_that_does(client, page):
    job_with()
    assert client.get(LIST, {"page": page}).status_code == 200


def test_list_shows_one_status_only(client):
    job_with(job_id="done", status=JobStatus.SUCCEEDED)
    job_with(job_id="broken", status=JobStatus.FAILED)
    html = text_of(client, f"{LIST}?status=failed")
    assert 'data-job="broken"' in html
    assert 'data-job="done"' not in html
    assert "limit=25&amp;offset=0&amp;status=failed" in html


def test_unknown_status_shows_all_jobs(client):
    job_with()
    assert 'data-job="job-1"' in text_of(client, f"{LIST}?status=nonsense")


def test_empty_list_says_what_to_do(client):
    html = text_of(client, LIST)
    assert "No jobs yet." in html
    assert "manage.py ingest" in html


def test_empty_filter_says_so(client):
    assert "No job is lost." in text_of(client, f"{LIST}?status=lost")


# One job


@pytest.mark.parametrize("status", JobStatus)
def test_job_page_asks_the_database_four_times(client, django_assert_num_queries, status):
    job_with(status)
    with django_assert_num_queries(4):
        client.get(page_of("job-1"))


def test_job_page_is_complete_without_javascript(client):
    job_with(total_chunks=4800, entities_total=1234567, counters={"tables": 4}, queue_depth=17)
    html = text_of(client, page_of("job-1"))
    for text in (
        "report.pdf", "Running", "1,200 of 4,800 pages", "chunk-2", "1 of 3 busy", "17 waiting",
        "1,234,567", "Tables", "A warning line", "1\u00a0min\u00a015\u00a0s",
    ):  # fmt: skip
        assert text in html


def test_finished_job_neither_reloads_nor_offers_to_stop(client):
    job_with(JobStatus.SUCCEEDED)
    html = text_of(client, page_of("job-1"))
    assert "http-equiv" not in html
    assert "cancellation" not in html


def test_unfinished_job_reloads_without_javascript_and_offers_to_stop(client):
    job_with()
    html = text_of(client, page_of("job-1"))
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html
    assert f'action="{cancellation_of("job-1")}"' in html


@pytest.mark.parametrize(
    ("status", "fields", "notice"),
    [
        (JobStatus.QUEUED, {}, "liveness-queued"),
        (JobStatus.QUEUED, {"created_at": timedelta(minutes=10)}, "liveness-starved"),
        (JobStatus.RUNNING, {}, "liveness-working"),
        (JobStatus.RUNNING, {"updated_at": timedelta(minutes=10)}, "liveness-stalled"),
        (JobStatus.RUNNING, {"heartbeat_at": timedelta(minutes=10)}, "liveness-lost"),
        (JobStatus.RUNNING, {"cancel_requested_at": timedelta()}, "stopping"),
        (JobStatus.SUCCEEDED, {}, "succeeded"),
        (JobStatus.FAILED, {}, "failed"),
        (JobStatus.CANCELLED, {}, "cancelled"),
        (JobStatus.LOST, {}, "lost"),
    ],
)
def test_one_notice_says_how_the_job_is(client, status, fields, notice):
    now = timezone.now()
    job_with(status, **{name: now - ago for name, ago in fields.items()})
    assert visible_notice(text_of(client, page_of("job-1"))) == notice


def test_failed_job_gives_its_reason(client):
    job_with(JobStatus.FAILED, error="Qdrant did not answer. Is it running?")
    assert "Qdrant did not answer. Is it running?" in text_of(client, page_of("job-1"))


def test_job_that_does_not_move_gets_no_estimate(client):
    job = job_with(reached_percent=50)
    assert "about 2\u00a0min left" in text_of(client, page_of("job-1"))
    job.updated_at -= timedelta(minutes=10)
    job.save()
    assert "left</dd>" not in text_of(client, page_of("job-1"))


def test_stage_of_unknown_length_claims_no_percentage(client):
    job_with().stages.update(total=0)
    html = text_of(client, page_of("job-1"))
    assert re.search(r'<progress class="bar" max="100" aria-label="In progress stage"></', html)


def test_job_that_succeeded_in_part_says_so(client):
    job_with(JobStatus.SUCCEEDED, error_count=2)
    assert "Errors on the way: 2" in text_of(client, page_of("job-1"))
    assert "Errors on the way: 2" in text_of(client, LIST)


def test_log_shows_the_newest_lines_and_says_that_there_are_more(client):
    job = job_with(event_count=EVENTS_SHOWN + 10)
    for number in range(EVENTS_SHOWN + 7):
        JobEvent.objects.create(job=job, attempt=1, message=f"line {number};")
    html = text_of(client, page_of("job-1"))
    assert html.count('class="log-entry"') == EVENTS_SHOWN
    assert f"line {EVENTS_SHOWN + 6};" in html
    assert "line 0;" not in html
    assert f"The newest {EVENTS_SHOWN} of {EVENTS_SHOWN + 10}" in html


def test_log_of_an_earlier_attempt_is_not_shown(client):
    job = job_with(attempt=2)
    JobEvent.objects.create(job=job, attempt=1, message="long ago")
    assert "long ago" not in text_of(client, page_of("job-1"))


@pytest.mark.parametrize("url", [LIST, page_of("job-1")])
def test_hostile_document_name_is_text_and_keeps_to_its_place(client, url):
    job_with(document_name="\u202egnp.<script>alert(1)</script>\"'")
    html = text_of(client, url)
    assert "<script>alert" not in html
    assert re.search(r"<bdi[^>]*>\u202egnp\.&lt;script&gt;", html)


@pytest.mark.parametrize(
    "job_id", ["nobody", "%00", "%0A", "a" * 300, "%F0%9F%A6%8A", "%2e%2e", "<b>", "%27--"]
)
def test_job_that_does_not_exist_is_a_page_with_404(client, job_id):
    html = text_of(client, f"/jobs/{job_id}/", status=404)
    assert "Job not found" in html
    assert "<b>" not in html
