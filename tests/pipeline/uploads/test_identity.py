"""The same content is ingested once, and different contents are never taken for one another."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile

from ingestion_progress.models import Job
from ingestion_progress.pipeline.exceptions import AlreadyIngested
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.management.commands.ingest import distinct
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.uploads.names import stable_id
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.tracker import fail_job
from tests.support.api import JOBS, refusal
from tests.support.documents import storage, stored_files  # noqa: F401

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("storage"),
    pytest.mark.database,
]

OWN_JOBS = "ingestion_progress.auth.visibility.own_jobs"
OLD, NEW = "The goosander dives.", "The merganser sleeps."


def upload(client, content: str, url: str = JOBS, **fields: str):
    file = SimpleUploadedFile("report.txt", content.encode())
    return client.post(url, {"file": file, **fields})


def test_the_same_content_is_answered_with_its_job(client, storage):  # noqa: F811
    first = upload(client, OLD)
    for is_ingested in (False, True):
        if is_ingested:
            ingest(first.json()["job_id"])
        again = upload(client, OLD)
        assert (first.status_code, again.status_code) == (201, 200)
        assert (first.json()["is_known"], again.json()["is_known"]) == (False, True)
        assert again.json()["job_id"] == first.json()["job_id"]
        assert again["Location"] == first["Location"]
    assert again.json()["status"] == "succeeded"
    assert (Job.objects.count(), len(stored_files(storage))) == (1, 1)


@pytest.mark.parametrize(
    ("url", "fields"),
    [(f"{JOBS}?force=true", {}), (f"{JOBS}?force", {}), (JOBS, {"job_id": "mine"})],
)
def test_it_is_ingested_again_on_request(client, storage, url, fields):  # noqa: F811
    ingest(upload(client, OLD).json()["job_id"])
    again = upload(client, OLD, url, **fields)
    assert (again.status_code, again.json()["is_known"]) == (201, False)
    ingest(again.json()["job_id"])
    assert len(search("goosander")) == len(stored_files(storage)) == 1


def test_what_failed_or_is_gone_is_not_known(client):
    failed = upload(client, OLD).json()["job_id"]
    fail_job(failed, "It is damaged.")
    again = upload(client, OLD)
    assert again.status_code == 201
    ingest(again.json()["job_id"])
    assert upload(client, OLD).status_code == 200
    Path(Document.objects.get().file.path).unlink()
    assert upload(client, OLD).status_code == 201


def test_a_newer_content_that_waits_makes_the_old_one_unknown(client):
    ingest(upload(client, OLD).json()["job_id"])
    newer = upload(client, NEW).json()["job_id"]
    assert upload(client, NEW).json()["job_id"] == newer
    last = upload(client, OLD)
    assert last.status_code == 201
    ingest(last.json()["job_id"])
    assert (len(search("goosander")), len(search("merganser"))) == (1, 0)


def test_a_newer_content_that_failed_leaves_the_old_one_known(client):
    ingest(upload(client, OLD).json()["job_id"])
    fail_job(upload(client, NEW).json()["job_id"], "It is damaged.")
    assert upload(client, OLD).status_code == 200


def test_one_name_with_two_contents_in_one_batch_is_two_documents(client):
    batch = {"batch": "one upload"}
    one, other = (upload(client, content, **batch).json() for content in (OLD, NEW))
    assert one["document_id"] != other["document_id"]
    for created in (one, other):
        ingest(created["job_id"])
    assert (len(search("goosander")), len(search("merganser"))) == (1, 1)
    assert [upload(client, content, **batch).status_code for content in (OLD, NEW)] == [200, 200]
    later = upload(client, NEW).json()  # another upload: a newer version
    assert later["document_id"] == one["document_id"]


def test_form_says_that_a_document_is_known(client):
    for _ in range(2):
        page = client.post("/", {"file": SimpleUploadedFile("a.txt", b"Bees")}, follow=True)
    assert "“a.txt” is being ingested: job " in page.content.decode()
    assert Job.objects.count() == 1


class TestVisibleJobs:
    @pytest.fixture(autouse=True)
    def users(self, settings):
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
        self.anna, self.bert = (User.objects.create_user(name) for name in ("anna", "bert"))

    def test_documents_of_other_users_are_neither_known_nor_replaced(self, client):
        documents = []
        for user, content in ((self.anna, OLD), (self.bert, OLD), (self.bert, NEW)):
            client.force_login(user)
            response = upload(client, content)
            assert response.status_code == 201
            ingest(response.json()["job_id"])
            documents.append(response.json()["document_id"])
        assert documents[0] != documents[1] == documents[2]
        assert (len(search("goosander")), len(search("merganser"))) == (1, 1)

    def test_the_id_of_a_hidden_document_is_refused(self, client):
        client.force_login(self.anna)
        assert upload(client, OLD, document_id="d").status_code == 201
        client.force_login(self.bert)
        refused = refusal(upload(client, NEW, document_id="d"), 422, "invalid_request")
        assert refused.message == "document_id: this id cannot be used."


def test_receive_ingests_known_content_unless_told_otherwise():
    for is_skipped in (False, True):
        receive(io.BytesIO(b"Bees"), name="a.txt")
        if is_skipped:
            with pytest.raises(AlreadyIngested):
                receive(io.BytesIO(b"Bees"), name="a.txt", skips_known=True)
    assert Job.objects.count() == 2


def test_files_of_one_command_line_with_one_name_are_documents_of_their_own(tmp_path: Path):
    for name in ("a/report.txt", "b/report.txt", "other.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    given = [tmp_path / "a/report.txt", tmp_path / "b/report.txt", tmp_path / "other.txt"]
    found = distinct([(path, stable_id(path.name)) for path in [*given, given[0]]])
    ids = ["a/report.txt", "b/report.txt", "other.txt"]
    assert found == list(zip(given, map(stable_id, ids), strict=True))
