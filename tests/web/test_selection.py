"""Jobs that are selected in the list, or all that match it: cancelled, retried and deleted."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.web import selection
from tests.support.page_jobs import job_with, text_of
from tests.web.test_pages_actions import user_who_may

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = reverse("ingestion_progress:job_list")
SELECTION = reverse("ingestion_progress:job_selection")
TASK = "ingestion_progress.pipeline.tasks.ingest_document"
OWN_JOBS = "ingestion_progress.auth.visibility.own_jobs"


def statuses() -> dict[str, str]:
    return dict(Job.objects.values_list("pk", "status"))


def job_of_each_status() -> None:
    for status in JobStatus:
        job_with(status, job_id=status.value, task=TASK)


def test_selected_jobs_are_cancelled_and_the_list_says_how_many(client):
    job_of_each_status()
    chosen = {"action": "cancel", "job": ["queued", "failed"], "filters": "status=queued"}
    response = client.post(SELECTION, chosen)
    assert response.url == f"{LIST}?status=queued"
    assert statuses()["queued"] == "cancelled"
    assert "Cancellation requested: 1 job. Not changed: 1 job." in text_of(client, LIST)


def test_selected_jobs_are_retried_unless_they_succeeded(client):
    job_of_each_status()
    job_with(JobStatus.SUCCEEDED, job_id="partial", task=TASK, failed_items=2)
    client.post(SELECTION, {"action": "retry", "job": [*JobStatus.values, "partial"]})
    again = {job_id for job_id, status in statuses().items() if status == "queued"}
    assert again == {"queued", "failed", "lost", "cancelled", "partial"}
    assert "Queued again: 4 jobs. Not changed: 3 jobs." in text_of(client, LIST)


def test_deletion_asks_first_and_keeps_active_jobs(client):
    job_of_each_status()
    asked = client.post(SELECTION, {"action": "delete", "job": JobStatus.values})
    assert "Delete 6 jobs?" in asked.content.decode()
    assert len(statuses()) == 6
    names = re.findall(r'name="job" value="(\w+)"', asked.content.decode())
    client.post(SELECTION, {"action": "delete", "job": names, "confirmed": "1"})
    assert set(statuses()) == {"queued", "running"}


def test_all_that_match_are_those_of_the_filters_and_of_every_page(client):
    for number in range(30):
        job_with(JobStatus.QUEUED, job_id=f"job-{number}", document_name="Report")
    job_with(JobStatus.QUEUED, job_id="other", document_name="Letter")
    chosen = {"action": "cancel", "all": "1", "filters": "q=report&group=waiting"}
    asked = client.post(SELECTION, chosen).content.decode()
    assert "Cancel 30 jobs?" in asked
    names = re.findall(r'name="job" value="([\w-]+)"', asked)
    client.post(SELECTION, {"action": "cancel", "job": names, "confirmed": "1"})
    assert [job_id for job_id, status in statuses().items() if status == "queued"] == ["other"]


def test_number_of_selected_jobs_is_limited_and_the_page_says_so(client, monkeypatch):
    monkeypatch.setattr(selection, "MAX_SELECTED", 2)
    job_of_each_status()
    asked = client.post(SELECTION, {"action": "delete", "all": "1"}).content.decode()
    assert "Delete 2 jobs?" in asked
    assert "do it again" in asked


@pytest.mark.parametrize("chosen", [{}, {"job": "nobody"}, {"job": "\0"}])
def test_nothing_selected_asks_for_a_selection(client, chosen):
    client.post(SELECTION, {"action": "retry", **chosen})
    assert "Select at least one job." in text_of(client, LIST)


def test_unknown_action_is_a_bad_request(client):
    assert client.post(SELECTION, {"action": "burn"}).status_code == 400
    assert client.get(SELECTION).status_code == 405


def test_all_that_match_a_filter_that_is_not_valid_are_not_changed(client):
    job_of_each_status()
    asked = {"action": "cancel", "all": "1", "filters": "status=quued", "confirmed": "1"}
    assert client.post(SELECTION, asked).status_code == 400
    assert statuses()["queued"] == "queued"


def test_invalid_batch_is_not_found(client):
    chosen = {"action": "retry", "all": "1", "filters": "batch=/"}
    assert client.post(SELECTION, chosen).status_code == 404


def test_selection_needs_a_token_and_the_permission_to_start(client, settings):
    job_with(JobStatus.QUEUED)
    chosen = {"action": "cancel", "job": "job-1"}
    assert Client(enforce_csrf_checks=True).post(SELECTION, chosen).status_code == 403
    settings.INGESTION_PROGRESS_PUBLIC = False
    client.force_login(user_who_may("view_job"))
    assert client.post(SELECTION, chosen).status_code == 403
    assert 'type="checkbox"' not in text_of(client, LIST)
    assert statuses() == {"job-1": "queued"}


def test_jobs_of_others_cannot_be_selected(client, settings, django_user_model):
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
    anna = django_user_model.objects.create_user("anna")
    job_with(JobStatus.QUEUED, job_id="own", owner=anna)
    job_with(JobStatus.QUEUED, job_id="other")
    client.force_login(anna)
    client.post(SELECTION, {"action": "cancel", "job": ["own", "other"]})
    assert statuses() == {"own": "cancelled", "other": "queued"}


def test_rule_of_the_project_decides_about_each_job(client, settings):
    settings.INGESTION_PROGRESS_CAN_VIEW = "tests.web.test_selection.may_view_the_first"
    job_with(JobStatus.QUEUED, job_id="first")
    job_with(JobStatus.QUEUED, job_id="second")
    client.post(SELECTION, {"action": "cancel", "job": ["first", "second"]})
    assert statuses() == {"first": "cancelled", "second": "queued"}


def may_view_the_first(request, job_id):
    return job_id in {"", "first"}
