"""Uploads by the API: accepted, refused, and without remains after a refusal."""

from __future__ import annotations

import errno
import io
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.files import File
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.db import connection
from django.test import Client
from django.urls import reverse
from pypdf import PdfWriter

from ingestion_progress.models import Batch, Job
from ingestion_progress.pipeline.exceptions import UnreadableDocument
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.tasks import ingest_document
from ingestion_progress.tracker import create_batch, queue_job
from tests.support.api import JOBS, refusal
from tests.support.documents import pdf, written

TEXT = b"Grace Hopper wrote the first compiler. Ada Lovelace wrote the first program.\n"

OWN_JOBS = "ingestion_progress.auth.visibility.own_jobs"

pytestmark = pytest.mark.django_db


def document(name="notes.txt", content=TEXT, content_type="text/plain"):
    return SimpleUploadedFile(name, content, content_type=content_type)


def stored_files():
    return sorted(path for path in Path(django_settings.MEDIA_ROOT).rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def _own_media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"


def assert_refused(response, status, code):
    """A refusal after which neither a job nor a file is left."""
    error = refusal(response, status, code)
    assert not Job.objects.exists()
    assert not Document.objects.exists()
    assert stored_files() == []
    return error


def uploaded_at_once(batch: str, users: list[User]) -> list[int]:
    """The statuses of first uploads into a batch, after all of them have looked for it."""
    find, have_looked = Batch.find, threading.Barrier(len(users))
    first_look, statuses = threading.local(), []

    def find_together(*args, **kwargs):
        found = find(*args, **kwargs)
        if not hasattr(first_look, "is_over"):
            first_look.is_over = True
            with suppress(threading.BrokenBarrierError):  # SQLite lets one of them look at a time
                have_looked.wait(timeout=0.5)
        return found

    def upload(number: int, user: User) -> None:
        client = Client()
        client.force_login(user)
        sent = {"file": document(f"{number}.txt"), "batch": batch}
        statuses.append(client.post(JOBS, sent).status_code)
        connection.close()

    threads = [threading.Thread(target=upload, args=each) for each in enumerate(users)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batch, "find", find_together)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sorted(statuses)


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    @pytest.fixture(autouse=True)
    def users(self, settings):
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
        self.anna, self.bert = (User.objects.create_user(name) for name in ("anna", "bert"))

    def test_first_uploads_of_one_user_share_one_batch(self):
        assert uploaded_at_once("import", [self.anna] * 2) == [201, 201]
        assert list(Batch.objects.values_list("pk", "owner_name")) == [("import", "anna")]
        assert Job.objects.of_batch("import").count() == 2

    def test_first_uploads_of_two_users_do_not_share_a_batch(self):
        assert uploaded_at_once("import", [self.anna, self.bert]) == [201, 422]
        assert Batch.objects.get().owner_id == Job.objects.get().owner_id
        assert Document.objects.count() == len(stored_files()) == 1


@pytest.mark.database
class TestAccepted:
    def test_document_becomes_a_queued_job_with_links(self, client):
        response = client.post(JOBS, {"file": document()})
        assert response.status_code == 201, response.content
        body = response.json()
        job = Job.objects.get()
        assert (body["job_id"], body["document_id"]) == (job.id, job.document_id)
        assert body["status"] == job.status == "queued"
        assert response["Location"] == body["links"]["job"] == f"{JOBS}/{job.id}"
        assert body["links"]["progress"] == f"{JOBS}/{job.id}/progress"
        assert client.get(body["links"]["snapshot"]).json()["document_name"] == "notes.txt"
        assert client.get(body["links"]["page"]).status_code == 200
        assert len(stored_files()) == 1

    def test_uploads_share_the_name_of_a_batch(self, client):
        for name in ("a.txt", "b.txt"):
            client.post(JOBS, {"file": document(name), "batch": "import 7"})
        client.post(JOBS, {"file": document("c.txt"), "batch": ""})
        assert sorted(Job.objects.values_list("document_name", "batch")) == [
            ("a.txt", "import 7"),
            ("b.txt", "import 7"),
            ("c.txt", ""),
        ]

    def test_the_first_upload_of_a_batch_names_it(self, client):
        for name in ("May", "June"):
            client.post(JOBS, {"file": document("a.txt"), "batch": "7", "batch_name": name})
        assert list(Batch.objects.values_list("pk", "name")) == [("7", "May")]

    def test_name_that_cannot_be_a_batch_is_refused(self, client):
        assert_refused(
            client.post(JOBS, {"file": document(), "batch": "a/b"}), 422, "invalid_request"
        )

    def test_batch_that_is_hidden_from_the_user_cannot_be_joined(self, client, settings):
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
        anna, bert = (User.objects.create_user(name) for name in ("anna", "bert"))
        create_batch(batch_id="empty", owner=anna)
        queue_job("a.txt", job_id="a", batch="annas", owner=anna)
        client.force_login(bert)
        for batch in ("annas", "empty"):
            sent = {"file": document(), "batch": batch}
            refusal(client.post(JOBS, sent), 422, "invalid_request")
        assert list(Job.objects.values_list("pk", flat=True)) == ["a"]
        assert not Document.objects.exists()
        for name in ("a.txt", "b.txt"):
            sent = {"file": document(name), "batch": "berts"}
            assert client.post(JOBS, sent).status_code == 201
        client.force_login(anna)
        assert client.post(JOBS, {"file": document(), "batch": "annas"}).status_code == 201

    def test_visitors_share_a_batch_that_belongs_to_nobody(self, client, settings):
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
        for _ in range(2):
            sent = {"file": document(), "batch": "import"}
            assert client.post(JOBS, sent).status_code == 201
        anna = User.objects.create_user("anna")
        create_batch(batch_id="annas", owner=anna)
        queue_job("a.txt", job_id="a", batch="mixed", owner=anna)
        Batch.objects.filter(pk="mixed").update(owner=None)
        for batch in ("annas", "mixed"):
            sent = {"file": document(), "batch": batch}
            refusal(client.post(JOBS, sent), 422, "invalid_request")
        client.force_login(anna)
        sent = {"file": document(), "batch": "import"}
        refusal(client.post(JOBS, sent), 422, "invalid_request")

    def test_an_id_that_is_taken_does_not_show_the_state_of_a_hidden_job(self, client, settings):
        queue_job("a.txt", job_id="a", owner=User.objects.create_user("anna"))
        sent = {"file": document(), "job_id": "a"}
        assert "queued" in refusal(client.post(JOBS, sent), 409, "job_exists").message
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
        sent = {"file": document(), "job_id": "a"}
        assert "queued" not in refusal(client.post(JOBS, sent), 409, "job_exists").message

    def test_caller_chooses_both_ids(self, client):
        response = client.post(JOBS, {"file": document(), "job_id": "mine", "document_id": "doc 1"})
        assert response.json()["job_id"] == "mine"
        assert response.json()["document_id"] == "doc 1"

    def test_empty_fields_count_as_missing(self, client):
        body = client.post(JOBS, {"file": document(), "job_id": "", "document_id": ""}).json()
        assert len(body["job_id"]) >= 16
        assert body["document_id"]

    def test_default_job_id_is_random(self, client):
        ids = {client.post(JOBS, {"file": document(f"{n}.txt")}).json()["job_id"] for n in "abc"}
        assert len(ids) == 3
        assert all(len(job_id) >= 16 for job_id in ids)

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("../../etc/cron.d/notes.txt", "notes.txt"),
            ("..\\..\\windows\\notes.txt", "notes.txt"),
            ("/etc/notes.txt", "notes.txt"),
            ("a\x00b.txt", "ab.txt"),
            ("\u202etxt.notes.txt", "txt.notes.txt"),
            ("😀 déjà vu.txt", "😀 déjà vu.txt"),
            ("<img src=x>.txt", "<img src=x>.txt"),
        ],
    )
    def test_hostile_name_is_cleaned(self, client, name, shown):
        response = client.post(JOBS, {"file": document(name)})
        assert response.status_code == 201, response.content
        assert Job.objects.get().document_name == shown
        (stored,) = stored_files()
        assert stored.is_relative_to(django_settings.MEDIA_ROOT)
        assert stored.suffix == ".txt"
        assert stored.stem.isalnum()

    def test_long_name_keeps_its_extension(self, client):
        response = client.post(JOBS, {"file": document("x" * 300 + ".txt")})
        assert response.status_code == 201
        name = Job.objects.get().document_name
        assert len(name) <= 255
        assert name.endswith(".txt")


class TestRefused:
    @pytest.mark.database
    def test_existing_job_id_changes_nothing(self, client):
        first = client.post(JOBS, {"file": document(), "job_id": "mine", "document_id": "d"})
        assert first.status_code == 201
        before = stored_files(), Document.objects.get().sha256
        response = client.post(
            JOBS, {"file": document("other.txt", b"Other."), "job_id": "mine", "document_id": "d"}
        )
        assert "mine" in refusal(response, 409, "job_exists").message
        assert Job.objects.get().document_name == "notes.txt"
        assert (stored_files(), Document.objects.get().sha256) == before

    @pytest.mark.parametrize(
        "job_id", ["../x", "a/b", "a\\b", "x" * 256, "a\x00b", "\u202ex", " x", "x ", ".", "\n"]
    )
    def test_invalid_job_id(self, client, job_id):
        response = client.post(JOBS, {"file": document(), "job_id": job_id})
        assert_refused(response, 422, "invalid_job_id")

    @pytest.mark.parametrize("document_id", ["x" * 256, "a\x00b", "\n", "\u202ex"])
    def test_invalid_document_id(self, client, document_id):
        response = client.post(JOBS, {"file": document(), "document_id": document_id})
        error = assert_refused(response, 422, "invalid_request")
        assert [entry.field for entry in error.errors] == ["document_id"]

    def test_error_names_the_missing_file(self, client):
        error = assert_refused(client.post(JOBS, {"job_id": "x"}), 422, "invalid_request")
        assert [entry.field for entry in error.errors] == ["file"]

    def test_request_without_a_body_has_no_file(self, client):
        response = client.generic("POST", JOBS)
        assert_refused(response, 422, "invalid_request")

    @pytest.mark.parametrize("name", ["../", "..", "."])
    def test_file_without_a_name_counts_as_missing(self, client, name):
        body = (
            f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
            "text\r\n--b--\r\n"
        )
        response = client.generic(
            "POST", JOBS, body, content_type="multipart/form-data; boundary=b"
        )
        assert_refused(response, 422, "invalid_request")

    def test_several_files_in_one_request_are_refused(self, client):
        response = client.post(JOBS, {"file": [document(), document("b.txt")]})
        assert_refused(response, 422, "invalid_request")

    def test_empty_document(self, client):
        response = client.post(JOBS, {"file": document(content=b"")})
        assert_refused(response, 422, "empty_document")

    @pytest.mark.parametrize("name", ["program.exe", "photo.heic", "no-extension"])
    def test_document_without_a_parser(self, client, name):
        response = client.post(JOBS, {"file": document(name, b"\x7fELF\x00\x01\x02" * 9)})
        assert_refused(response, 415, "unsupported_document")

    def test_mislabelled_document(self, client):
        response = client.post(JOBS, {"file": document("report.pdf", TEXT, "application/pdf")})
        assert_refused(response, 422, "unreadable_document")

    def test_body_that_is_not_multipart(self, client):
        response = client.post(JOBS, {"file": "text"}, content_type="application/json")
        assert_refused(response, 422, "invalid_request")

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("multipart/form-data", b"text"),
            ("multipart/form-data; boundary=" + "b" * 300, b"text"),
            ("multipart/form-data; boundary=b", b"--b\r\n" * 3000),
        ],
    )
    def test_malformed_multipart_is_a_bad_request(self, client, content_type, body):
        response = client.generic("POST", JOBS, body, content_type=content_type)
        assert response.status_code in {400, 422}, response.content
        assert not Job.objects.exists()

    def test_too_many_fields(self, client):
        fields = {f"field-{number}": "x" for number in range(1100)}
        assert_refused(client.post(JOBS, {"file": document(), **fields}), 400, "bad_request")


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
@pytest.mark.parametrize("place", ["storage", "spool"])
def test_full_disk_is_reported_and_leaves_nothing_behind(client, monkeypatch, place):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/site/media/notes.txt")

    owner = FileSystemStorage if place == "storage" else tempfile.SpooledTemporaryFile
    monkeypatch.setattr(owner, "_save" if place == "storage" else "write", full)
    response = client.post(JOBS, {"file": document()})
    assert_refused(response, 503, "unavailable")
    assert response.json()["message"] == "“notes.txt” could not be stored. The disk is full."
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_metadata_and_owner_are_stored(client):
    anna = User.objects.create_user("anna")
    client.force_login(anna)
    sent = {"file": document(), "metadata": '{"team": "legal", "pages": [1, 2]}'}
    assert client.post(JOBS, sent).status_code == 201
    job = Job.objects.get()
    assert job.metadata == {"team": "legal", "pages": [1, 2]}
    assert job.owner_id == anna.pk
    assert client.post(JOBS, {"file": document("b.txt"), "metadata": " "}).status_code == 201
    page = reverse("ingestion_progress:job_list")
    client.post(page, {"file": document("page.txt"), "metadata": '{"team": "sales"}'})
    assert Job.objects.get(document_name="page.txt").metadata == {"team": "sales"}
    html = client.post(page, {"file": document(), "metadata": "{"}, follow=True).content.decode()
    assert "it is not JSON" in html
    assert Job.objects.count() == 3


@pytest.mark.parametrize("metadata", ["{", "[]", '"a"', "1", "[" * 5000, '{"a": NaN}', "x" * 9000])
def test_metadata_that_is_not_a_small_object_is_refused(client, metadata):
    sent = {"file": document(), "metadata": metadata}
    assert_refused(client.post(JOBS, sent), 422, "invalid_request")


def test_priority_is_checked_and_stored(client):
    assert client.post(JOBS, {"file": document(), "priority": "-5"}).status_code == 201
    assert Job.objects.get().priority == -5
    assert client.post(JOBS, {"file": document(), "priority": "101"}).status_code == 422


@pytest.mark.django_db(transaction=True)
def test_disk_that_fills_up_meanwhile_leaves_no_file(client, monkeypatch):
    """The part that was written has a name that only the storage knows."""
    write = FileSystemStorage._save

    def fill_up(self, name, content):
        class Content(File):
            def chunks(self, chunk_size=None):
                yield b"the first part"
                raise OSError(errno.ENOSPC, "No space left on device")

        return write(self, name, Content(content.file))

    monkeypatch.setattr(FileSystemStorage, "_save", fill_up)
    assert_refused(client.post(JOBS, {"file": document()}), 503, "unavailable")
    folder = Path(django_settings.MEDIA_ROOT)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 507), (errno.EIO, 500)])
def test_disk_without_space_for_the_body_is_507(client, monkeypatch, number, code):
    def full(*args, **kwargs):
        raise OSError(number, "No space left on device")

    monkeypatch.setattr(MemoryFileUploadHandler, "receive_data_chunk", full)
    client.raise_request_exception = False
    response = client.post(JOBS, {"file": document()})
    assert response.status_code == code
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestRefusedByTheJob:
    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            pytest.param(
                pdf(1, password="owner", user="secret"),
                "“report.pdf” is protected by a password. Save it without one and try again.",
                id="locked",
            ),
            pytest.param(
                pdf(2)[:-3000],
                "“report.pdf” is cut off: its end is missing. Download it again.",
                id="truncated",
            ),
            pytest.param(written(PdfWriter()), "“report.pdf” has 0 pages.", id="empty"),
        ],
    )
    def test_unreadable_pdf_is_accepted_and_its_job_fails_with_a_reason(
        self, client, content, sentence
    ):
        response = client.post(JOBS, {"file": document("report.pdf", content, "application/pdf")})
        assert response.status_code == 201, response.content
        with pytest.raises(UnreadableDocument):
            ingest_document.call(response.json()["job_id"])
        job = client.get(response.json()["links"]["job"]).json()
        assert (job["status"], job["error"]) == ("failed", sentence)


class TestTooLarge:
    def test_error_has_the_limit_in_megabytes_and_bytes(self, client, settings):
        settings.INGESTION_PROGRESS_MAX_UPLOAD_BYTES = 1024 * 1024
        response = client.post(JOBS, {"file": document(content=b"x" * (1024 * 1024 + 1))})
        error = assert_refused(response, 413, "too_large")
        assert "1 MB (1048576 bytes)" in error.message
        assert error.limit_bytes == 1048576

    def test_document_of_exactly_the_limit_passes(self, client, settings):
        settings.INGESTION_PROGRESS_MAX_UPLOAD_BYTES = 100_000
        content = (b"word " * 20_000)[:100_000]
        assert client.post(JOBS, {"file": document(content=content)}).status_code == 201

    @pytest.mark.parametrize("length", [200 * 1024 * 1024, "9" * 5000])
    def test_body_with_a_too_large_content_length_is_not_read(self, client, length):
        class Untouchable(io.RawIOBase):
            def readinto(self, buffer):
                raise AssertionError("the body was read")

        response = client.generic(
            "POST",
            JOBS,
            content_type="multipart/form-data; boundary=b",
            **{"wsgi.input": Untouchable(), "CONTENT_LENGTH": str(length)},
        )
        error = assert_refused(response, 413, "too_large")
        assert "50 MB (52428800 bytes)" in error.message

    @pytest.mark.parametrize(
        "headers",
        [{"CONTENT_LENGTH": "-1"}, {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}],
    )
    def test_body_of_unknown_length_is_refused(self, client, headers):
        response = client.generic(
            "POST", JOBS, content_type="multipart/form-data; boundary=b", **headers
        )
        assert_refused(response, 411, "length_required")


class TestAccess:
    def test_anonymous_user_cannot_upload_to_a_closed_site(self, client, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False
        assert_refused(client.post(JOBS, {"file": document()}), 401, "unauthorized")

    def test_viewer_cannot_upload(self, client, settings, django_user_model):
        settings.INGESTION_PROGRESS_PUBLIC = False
        client.force_login(django_user_model.objects.create_user("somebody"))
        assert_refused(client.post(JOBS, {"file": document()}), 403, "forbidden")

    def test_admin_needs_the_csrf_token_to_upload(self, settings, admin_user):
        settings.INGESTION_PROGRESS_PUBLIC = False
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(admin_user)
        assert_refused(strict.post(JOBS, {"file": document()}), 403, "csrf_failed")
        strict.cookies["csrftoken"] = token = "a" * 32
        headers = {"X-CSRFToken": token}
        assert strict.post(JOBS, {"file": document()}, headers=headers).status_code == 201
        fields = {"file": document("b.txt"), "csrfmiddlewaretoken": token}
        assert strict.post(JOBS, fields).status_code == 201

    def test_page_of_another_origin_cannot_upload_to_a_public_site(self):
        headers = {"Origin": "https://evil.example"}
        response = Client(enforce_csrf_checks=True).post(
            JOBS, {"file": document()}, headers=headers
        )
        assert_refused(response, 403, "csrf_failed")
