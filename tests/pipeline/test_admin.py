from __future__ import annotations

import io
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import reverse

from ingestion_progress.models import Job
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document, Entity, Relation
from ingestion_progress.pipeline.uploads.receive import receive
from tests.support.documents import storage  # noqa: F401

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def make_document(number: int) -> Document:
    document = Document.objects.create(
        id=f"doc-{number}",
        name=f"report-{number}.pdf",
        media_type="application/pdf",
        size_bytes=1000,
        sha256=f"{number:064}",
        file="documents/some.pdf",
    )
    one, other = (
        Entity.objects.create(
            document=document,
            key=name.lower(),
            name=name,
            evidence=[{"chunk": 1, "page": 3}, {"chunk": 2, "page": 3}, {"chunk": 7, "page": 12}],
        )
        for name in (f"Ada {number}", f"Babbage {number}")
    )
    Relation.objects.create(
        document=document, source=one, target=other, evidence=[{"chunk": 1, "page": None}]
    )
    return document


@pytest.fixture
def label() -> str:
    return Document._meta.app_label


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("document", ["report-1.pdf", "application/pdf"]),
        ("entity", ["Ada 1", "3, 12", "report-1.pdf"]),
        ("relation", ["Ada 1", "Babbage 1", "report-1.pdf"]),
    ],
)
def test_rows_can_be_searched_and_read(admin_client, label, name, shown) -> None:
    make_document(1)
    make_document(2)
    url = reverse(f"admin:{label}_{name}_changelist")
    html = admin_client.get(url, {"q": "report-1" if name == "document" else "ada 1"}).content
    for text in shown:
        assert text in html.decode()
    assert "report-2.pdf" not in html.decode()


@pytest.mark.parametrize("model", [Document, Entity, Relation])
def test_rows_are_read_only(admin_client: Client, label, model) -> None:
    make_document(1)
    name = model._meta.model_name
    assert admin_client.get(reverse(f"admin:{label}_{name}_add")).status_code == 403
    url = reverse(f"admin:{label}_{name}_change", args=[model.objects.first().pk])
    assert admin_client.get(url).status_code == 200
    assert admin_client.post(url, {"name": "other"}).status_code == 403
    url = reverse(f"admin:{label}_{name}_delete", args=[model.objects.first().pk])
    assert admin_client.post(url, {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("name", ["document", "entity", "relation"])
def test_lists_need_the_same_queries_for_any_number_of_rows(admin_client, label, name) -> None:
    url = reverse(f"admin:{label}_{name}_changelist")
    counts = []
    for numbers in ([0], range(1, 30)):
        for number in numbers:
            make_document(number)
        admin_client.get(url)
        with CaptureQueriesContext(connection) as captured:
            admin_client.get(url)
        counts.append(len(captured))
    assert counts[0] == counts[1]


class TestActions:
    @pytest.fixture(autouse=True)
    def _storage(self, storage) -> None:  # noqa: F811
        """Their files and chunks are real."""

    @pytest.fixture
    def documents(self, transactional_db) -> list[Document]:
        jobs = [
            receive(io.BytesIO(b"Bees make honey."), name=f"{name}.txt", is_enqueued=False)
            for name in "ab"
        ]
        ingest(jobs[0].pk)
        return [Document.objects.get(pk=job.document_id) for job in jobs]

    def act(self, client: Client, label: str, action: str, documents, **more: str) -> str:
        url = reverse(f"admin:{label}_document_changelist")
        chosen = {"action": action, "_selected_action": [each.pk for each in documents]}
        return client.post(url, chosen | more, follow=True).content.decode()

    def test_deletion_says_what_goes_and_is_confirmed(self, admin_client, label, documents) -> None:
        action = "delete_selected_documents"
        html = self.act(admin_client, label, action, documents)
        assert "2 documents will be deleted" in html
        assert "1 chunk," in html
        assert "1 job will be cancelled" in html
        assert Document.objects.count() == 2
        html = self.act(admin_client, label, action, documents, confirmed="yes")
        assert "Deleted: 2 documents." in html
        assert not Document.objects.exists()
        assert sorted(Job.objects.values_list("status", flat=True)) == ["cancelled", "succeeded"]
        assert LogEntry.objects.count() == 2

    def test_documents_are_ingested_again_unless_a_job_does_it(
        self, admin_client, label, documents
    ) -> None:
        html = self.act(admin_client, label, "ingest_selected_again", documents)
        assert "Queued: 1 document." in html
        assert "Not done: “b.txt” is being ingested by job" in html
        assert Job.objects.filter(document_id=documents[0].pk).count() == 2

    def test_document_and_its_jobs_are_linked_in_both_directions(
        self, admin_client, client, label, documents
    ) -> None:
        """And its file is opened by the API, for those who may see it."""
        document = documents[0]
        job = Job.objects.get(document_id=document.pk)
        job_page = reverse("admin:ingestion_progress_job_change", args=[quote(job.pk)])
        document_page = reverse(f"admin:{label}_document_change", args=[document.pk])
        assert f'href="{document_page}">Document<' in admin_client.get(job_page).content.decode()
        deletion = reverse("admin:ingestion_progress_job_delete", args=[quote(job.pk)])
        assert f'with <a href="{document_page}">' in admin_client.get(deletion).content.decode()
        html = admin_client.get(document_page).content.decode()
        link = re.search(f'href="{re.escape(job_page)}">(.*?)</a>', html)[1]
        assert 'title="a.txt"' in link
        assert "documents/" not in re.sub(r'"/[^"]*"', "", html), "the stored path"
        jobs = re.search(r'href="([^"]*job/\?document_id=[^"]*)"', html)[1]
        assert list(admin_client.get(jobs).context["cl"].queryset) == [job]
        file = re.search(r'href="([^"]*)">Download<', html)[1]
        assert b"".join(admin_client.get(file).streaming_content) == b"Bees make honey."
        with override_settings(INGESTION_PROGRESS_PUBLIC=False):
            assert client.get(file).status_code == 401

    def test_jobs_link_to_no_document_that_the_user_may_not_view(
        self, client, label, documents
    ) -> None:
        user = User.objects.create_user("ada", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_job"))
        client.force_login(user)
        job = Job.objects.get(document_id=documents[0].pk)
        page = reverse("admin:ingestion_progress_job_change", args=[quote(job.pk)])
        assert ">Document<" not in client.get(page).content.decode()
        user.user_permissions.add(Permission.objects.get(codename="view_document"))
        assert ">Document<" in client.get(page).content.decode()

    def test_actions_need_the_permission_to_start(self, client, label, documents) -> None:
        user = User.objects.create_user("ada", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_document"))
        client.force_login(user)
        settings_url = reverse(f"admin:{label}_document_changelist")
        with override_settings(INGESTION_PROGRESS_PUBLIC=False):
            assert "delete_selected_documents" not in client.get(settings_url).content.decode()
            self.act(client, label, "delete_selected_documents", documents, confirmed="yes")
        assert Document.objects.count() == 2

    def test_lists_show_only_what_visible_jobs_have_written(
        self, admin_client, label, documents, settings
    ) -> None:
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = f"{__name__}.no_jobs"
        for name in ("document", "entity", "relation"):
            html = admin_client.get(reverse(f"admin:{label}_{name}_changelist")).content.decode()
            assert "a.txt" not in html


def no_jobs(request: object) -> object:
    return Job.objects.none()
