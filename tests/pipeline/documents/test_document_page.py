"""The page of a document, its buttons, and the link on the pages of its jobs."""

from __future__ import annotations

import io

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from ingestion_progress import track
from ingestion_progress.models import Job
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.uploads.receive import receive
from tests.support.documents import storage  # noqa: F401

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("storage")]


def url(job: Job, name: str = "detail") -> str:
    return reverse(f"ingestion_progress:document_{name}", args=[job.document_id])


@pytest.fixture
def job() -> Job:
    job = receive(io.BytesIO(b"Bees make honey."), name="<bees>.txt", is_enqueued=False)
    ingest(job.pk)
    return job


def test_page_shows_what_is_stored_and_the_job_links_to_it(client, job: Job):
    page = client.get(reverse("ingestion_progress:job_detail", args=[job.pk])).content.decode()
    assert f'href="{url(job)}"' in page
    html = client.get(url(job)).content.decode()
    assert '<h1 class="page-title"><bdi>&lt;bees&gt;.txt</bdi></h1>' in html
    for text in ("<dd>yes</dd>", "1 chunk,", "Download", "Ingest again", "Delete document…"):
        assert text in html
    assert reverse("ingestion_progress:job_detail", args=[job.pk]) in html


def test_a_job_with_failed_items_is_not_shown_as_a_plain_success(client, job: Job):
    assert ">Succeeded</a>" in client.get(url(job)).content.decode()
    Job.objects.update(failed_items=1)
    assert ">Succeeded with errors</a>" in client.get(url(job)).content.decode()


def test_job_of_another_kind_has_no_link(client):
    with track("a.pdf", job_id="other"):
        pass
    page = client.get(reverse("ingestion_progress:job_detail", args=["other"])).content.decode()
    assert "Ingest again or delete" not in page


def test_buttons_ingest_again_and_delete(client, job: Job):
    again = client.post(url(job, "ingestion"))
    newest = Job.objects.exclude(pk=job.pk).get()
    assert again["Location"] == reverse("ingestion_progress:job_detail", args=[newest.pk])
    refused = client.post(url(job, "ingestion"), follow=True).content.decode()
    assert f"is being ingested by job {newest.pk}" in refused
    deleted = client.post(url(job, "deletion"), follow=True).content.decode()
    assert "&lt;bees&gt;.txt is deleted." in deleted
    assert not Document.objects.exists()
    newest.refresh_from_db()
    assert newest.status == "cancelled"
    for response in (
        client.get(url(job)),
        client.post(url(job, "deletion")),
        client.post(url(job, "ingestion")),
    ):
        assert response.status_code == 404
        assert b"Document not found" in response.content
    assert client.get(url(job, "deletion")).status_code == 405


def test_page_is_closed_by_default_and_viewers_have_no_buttons(client, job: Job, settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    assert client.get(url(job)).status_code == 302
    assert client.post(url(job, "deletion")).status_code == 302
    user = User.objects.create_user("ada")
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    client.force_login(user)
    html = client.get(url(job)).content.decode()
    assert "Download" in html
    assert "Delete" not in html
    for name in ("deletion", "ingestion"):
        assert client.post(url(job, name)).status_code == 403
    assert Document.objects.exists()
