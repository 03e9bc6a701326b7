"""Cancellation, uploads without JavaScript, and permissions of the pages."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.pipeline.uploads.media_types import EXTENSIONS
from tests.support.page_jobs import cancellation_of, job_with, page_of, text_of, visible_notice

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = reverse("ingestion_progress:job_list")


@pytest.fixture
def closed(settings) -> None:
    settings.INGESTION_PROGRESS_PUBLIC = False


def user_who_may(*codenames: str) -> User:
    user = User.objects.create_user("reader", password="secret")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


# Cancellation


def test_cancellation_ends_a_queued_job_and_redirects_to_its_page(client):
    job_with(JobStatus.QUEUED)
    response = client.post(cancellation_of("job-1"))
    assert response.status_code == 302
    assert response.url == page_of("job-1")
    assert Job.objects.get().status == JobStatus.CANCELLED


def test_cancellation_of_a_running_job_is_requested(client):
    job_with()
    html = client.post(cancellation_of("job-1"), follow=True).content.decode()
    assert visible_notice(html) == "stopping"
    assert 'name="confirm"' not in html


def test_cancellation_of_a_finished_job_shows_a_warning(client):
    job_with(JobStatus.SUCCEEDED)
    assert (
        'data-level="warning"'
        in client.post(cancellation_of("job-1"), follow=True).content.decode()
    )


@pytest.mark.parametrize("job_id", ["nobody", "\x00"])
def test_cancellation_of_a_missing_job_is_404(client, job_id):
    assert client.post(cancellation_of(job_id)).status_code == 404


def test_cancellation_needs_post_and_a_token(client):
    job_with()
    assert client.get(cancellation_of("job-1")).status_code == 405
    assert Client(enforce_csrf_checks=True).post(cancellation_of("job-1")).status_code == 403
    assert Job.objects.get().cancel_requested_at is None


def test_page_that_asks_for_a_confirmation_does_not_reload(client):
    job_with()
    html = text_of(client, page_of("job-1") + "?confirm=cancellation")
    assert "http-equiv" not in html
    assert f'action="{cancellation_of("job-1")}"' in html
    assert f'href="{page_of("job-1")}"' in html


@pytest.mark.parametrize("asked", ["deletion", "retry", ""])
def test_what_is_not_offered_cannot_be_confirmed(client, asked):
    job_with()
    assert 'http-equiv="refresh"' in text_of(client, f"{page_of('job-1')}?confirm={asked}")


def test_reader_is_not_asked_for_a_confirmation(client, closed):
    job_with()
    client.force_login(user_who_may("view_job"))
    assert "Cancel this job?" not in text_of(client, page_of("job-1") + "?confirm=cancellation")


# Uploads without JavaScript


def test_form_without_javascript_queues_a_job_per_document(client, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    files = [
        SimpleUploadedFile("one.txt", b"The first document, a few words long."),
        SimpleUploadedFile("two.md", b"# The second\n\nA few words more."),
    ]
    response = client.post(LIST, {"file": files}, follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert sorted(Job.objects.values_list("document_name", flat=True)) == ["one.txt", "two.md"]
    assert response.content.decode().count('data-level="success"') == 2
    (batch,) = set(Job.objects.values_list("batch", flat=True))
    assert batch


def test_rejected_document_is_named_with_the_reason(client, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    html = client.post(
        LIST, {"file": SimpleUploadedFile("empty.txt", b"")}, follow=True
    ).content.decode()
    assert re.search(r'data-level="error"><bdi>[^<]*empty\.txt', html)
    assert not Job.objects.exists()


def test_form_offers_every_extension_that_can_be_ingested(client):
    page = client.get(LIST).content.decode()
    assert f'accept="{",".join(EXTENSIONS)}"' in page
    listed = re.search(r'<ul class="upload-formats".*?</ul>', page, re.DOTALL)[0]
    named = " ".join(re.findall("<code>(.*?)</code>", listed)).split()
    assert named == list(EXTENSIONS)


def test_form_without_a_document_asks_for_one(client):
    assert "Choose at least one document." in client.post(LIST, follow=True).content.decode()


# Permissions


@pytest.mark.parametrize("url", [LIST, page_of("job-1")])
def test_page_redirects_anonymous_users_to_the_login(client, closed, url):
    response = client.get(url)
    assert response.status_code == 302
    assert response.url == f"/login/?next={url}"


@pytest.mark.parametrize("url", [LIST, page_of("job-1")])
def test_page_is_forbidden_to_users_without_the_permission(client, closed, url):
    client.force_login(user_who_may())
    page = text_of(client, url, status=403)
    assert "You may not see this" in page
    named = set(re.findall("“(.+?)”", page))
    assert named == set(
        Permission.objects.filter(codename__in=["view_job", "start_job"]).values_list(
            "name", flat=True
        )
    )


def test_reader_sees_jobs_but_can_neither_upload_nor_cancel(client, closed):
    job_with()
    client.force_login(user_who_may("view_job"))
    assert 'type="file"' not in text_of(client, LIST)
    assert "Cancel job" not in text_of(client, page_of("job-1"))
    assert client.post(LIST).status_code == 403
    assert client.post(cancellation_of("job-1")).status_code == 403


def test_operator_may_upload_and_cancel(client, closed):
    job_with()
    client.force_login(user_who_may("view_job", "start_job"))
    assert 'type="file"' in text_of(client, LIST)
    assert "Cancel job" in text_of(client, page_of("job-1"))


def test_reader_without_staff_rights_can_log_in_and_out(client, closed):
    user_who_may("view_job")
    response = client.post(
        "/login/", {"username": "reader", "password": "secret", "next": LIST}, follow=True
    )
    assert response.redirect_chain == [(LIST, 302)]
    assert "Log out" in response.content.decode()
    assert client.post("/logout/").status_code == 302
    assert client.get(LIST).status_code == 302


# Deletion


def deletion_of(job_id: str) -> str:
    return reverse("ingestion_progress:job_deletion", args=[job_id])


@pytest.mark.parametrize("status", [status for status in JobStatus if status.is_final])
def test_ended_job_can_be_deleted_after_a_confirmation_without_javascript(client, status):
    job_with(status)
    html = text_of(client, page_of("job-1"))
    dialog = re.search(r'<dialog id="deletion".*?</dialog>', html, re.DOTALL)[0]
    assert f'action="{deletion_of("job-1")}"' in dialog
    asked = text_of(client, page_of("job-1") + "?confirm=deletion")
    assert f'action="{deletion_of("job-1")}"' in asked
    response = client.post(deletion_of("job-1"), follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert "The job is deleted." in response.content.decode()
    assert not Job.objects.exists()


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_no_deletion_is_offered_before_the_end(client, status):
    job_with(status)
    assert deletion_of("job-1") not in text_of(client, page_of("job-1"))


def test_deletion_of_a_running_job_is_refused_with_the_reason(client):
    job_with()
    html = client.post(deletion_of("job-1"), follow=True).content.decode()
    assert re.search(r'data-level="warning"><bdi>[^<]*cancel it first', html)
    assert Job.objects.exists()


@pytest.mark.parametrize("job_id", ["nobody", "\x00"])
def test_deletion_of_a_missing_job_is_404(client, job_id):
    assert client.post(deletion_of(job_id)).status_code == 404


def test_reader_may_not_delete(client, closed):
    job_with(JobStatus.SUCCEEDED)
    client.force_login(user_who_may("view_job"))
    assert deletion_of("job-1") not in text_of(client, page_of("job-1"))
    assert client.post(deletion_of("job-1")).status_code == 403
    assert client.get(deletion_of("job-1")).status_code == 405
    assert Client(enforce_csrf_checks=True).post(deletion_of("job-1")).status_code == 403
    assert Job.objects.exists()
