"""The page of all batches."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from ingestion_progress.models import Batch
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.web import batch_list
from tests.support.page_jobs import job_with, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def make(number: int, **fields: object) -> Batch:
    at = timezone.now() - timedelta(minutes=number)
    return Batch.objects.create(id=f"batch-{number}", created_at=at, **fields)


def test_a_batch_is_a_row_with_its_jobs_by_status(client: Client):
    make(1, name="Night <&>")
    for number, status in enumerate([JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.RUNNING]):
        job_with(status, job_id=f"job-{number}", batch="batch-1")
    response = client.get("/batches/")
    html = response.content.decode()
    assert "Night &lt;&amp;&gt;" in html
    assert "1 succeeded · 1 failed · 1 running" in text_of(client, "/batches/")
    assert 'href="/?batch=batch-1"' in html
    assert 'viewBox="0 0 3 1"' in html
    assert "<noscript><meta" in html
    assert not re.search(r"\sstyle=|\son[a-z]+=", html)


def test_older_batches_are_on_further_pages(client: Client, monkeypatch):
    monkeypatch.setattr(batch_list, "PAGE_SIZE", 2)
    for number in range(5):
        make(number)
    url, shown = "/batches/", []
    while url:
        html = client.get(url).content.decode()
        shown += re.findall(r'data-key="(batch-\d)"', html)
        older = re.search(r'rel="next" href="([^"]+)"', html)
        url = older and older[1]
    assert shown == [f"batch-{number}" for number in range(5)]
    assert "batch-0" in client.get("/batches/?cursor=odd").content.decode()


def test_a_batch_is_renamed_in_the_list_and_keeps_its_limit(client: Client):
    batch = make(1, name="Old", max_running=3)
    html = client.get("/batches/").content.decode()
    action = re.search(r'action="([^"]*change[^"]*)"', html)[1]
    fields = dict(re.findall(r'name="(\w+)" (?:maxlength="\d+" )?value="([^"]*)"', html))
    assert fields["name"] == "Old"
    response = client.post(action, fields | {"name": "New"})
    assert response["Location"] == "/batches/"
    batch.refresh_from_db()
    assert (batch.name, batch.max_running) == ("New", 3)


def test_only_those_who_may_start_jobs_rename_batches(client: Client, settings):
    make(1)
    settings.INGESTION_PROGRESS_PUBLIC = False
    assert client.get("/batches/").status_code == 302
    client.force_login(User.objects.create_user("ada"))
    assert client.get("/batches/").status_code == 403
    settings.INGESTION_PROGRESS_PUBLIC = True
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = "ingestion_progress.auth.visibility.own_jobs"
    assert "batch-1" not in client.get("/batches/").content.decode()


def test_a_refresh_has_the_parts_only(client: Client):
    make(1)
    html = client.get("/batches/", headers={"X-Requested-With": "fetch"}).content.decode()
    assert "batch-1" in html
    assert "<html" not in html


def test_without_batches_the_page_says_so_and_the_list_links_to_it(client: Client):
    assert "No batches yet." in text_of(client, "/batches/")
    make(1)
    job_with(batch="batch-1")
    html = text_of(client, "/")
    assert 'href="/batches/">All batches<' in html
    assert '<a href="/batches/">Batches</a>' in html
    assert '<a href="/batches/" aria-current="page">Batches</a>' in text_of(client, "/batches/")
