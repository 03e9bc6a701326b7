"""Refusals are in German for readers of the pages, and in English for programs."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import translation

from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.pipeline.exceptions import UnreadableDocument
from ingestion_progress.pipeline.uploads.media_types import media_type_of
from ingestion_progress.pipeline.uploads.unsupported_formats import (
    LETTER_MARKS,
    MARKS,
    OLD_DOCUMENTS,
    OLD_OFFICE,
)
from ingestion_progress.pipeline.uploads.zip_safety import END_RECORD
from tests.support.api import JOBS
from tests.support.documents import archive, zip_bomb
from tests.support.german import english_of_page
from tests.support.page_jobs import cancellation_of, job_with, retry_of

pytest_plugins = ["tests.support.german_pages"]
pytestmark = pytest.mark.django_db

LIST = reverse("ingestion_progress:job_list")
SEARCH = reverse("ingestion_progress:search")
PAGE = {"X-Requested-With": "fetch"}
DOCUMENTS = {
    "leer.txt": b"",
    "weiss.txt": b"  \n",
    "bombe.docx": zip_bomb(),
    "archiv.zip": archive({"a.txt": b"a"}),
    "kurz.docx": b"PK\x03\x04" + b"a" * 100,
    "kaputt.docx": b"PK\x03\x04" + b"a" * 100 + END_RECORD.pack(b"PK\x05\x06", 0, 0, 1, 1, 9, 9, 0),
    "seiten.zip": archive({"index.iwa": b"a"}),
    "mappe.xlsx": archive({"xl/workbook.bin": b"a"}),
    "wort.pdf": b"<html>",
    "zahl.xyz": bytes(range(256)),
    "zahl.pdf": bytes(range(256)),
    "geheim.docx": OLD_OFFICE + b"a" * 600 + "EncryptedPackage".encode("utf-16-le"),
    **{
        f"alt{number}.bin": OLD_OFFICE + name.encode("utf-16-le")
        for number, name in enumerate([*OLD_DOCUMENTS, "x"])
    },
    **{
        f"format{number}.bin": b"\xff" * offset + mark + bytes(range(256)) * 3
        for number, (offset, mark, _) in enumerate([*MARKS, *LETTER_MARKS])
    },
}
UPLOADED = ["leer.txt", "bombe.docx", "archiv.zip", "zahl.pdf", "lang.txt"]


@pytest.fixture(autouse=True)
def _limits(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.INGESTION_PROGRESS_MAX_UPLOAD_BYTES = 4000


def document(name: str) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, DOCUMENTS.get(name, b"a" * 5000))


def is_german(text: str) -> bool:
    return english_of_page(f"<p>{html.escape(text)}</p>") == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_refusal_of_a_document_has_a_german_sentence(name):
    with pytest.raises(UnreadableDocument) as refused:
        media_type_of(io.BytesIO(DOCUMENTS[name]), name)
    with translation.override("de"):
        assert not is_german(str(refused.value))
        assert is_german(refused.value.translated())


@pytest.mark.parametrize("name", UPLOADED)
def test_refused_upload_is_german_on_pages_and_english_for_programs(german, name):
    shown = german.post(LIST, {"file": document(name)}, follow=True).text
    assert name in shown
    assert english_of_page(shown) == []
    assert is_german(german.post(JOBS, {"file": document(name)}, headers=PAGE).json()["message"])
    assert not is_german(german.post(JOBS, {"file": document(name)}).json()["message"])


def test_storage_that_is_full_is_german(german, monkeypatch):
    def is_full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    sent = {"file": SimpleUploadedFile("a.txt", b"Some text.")}
    monkeypatch.setattr("django.core.files.storage.FileSystemStorage.save", is_full)
    shown = german.post(LIST, sent, follow=True).text
    assert "„a.txt“ konnte nicht gespeichert werden. Der Datenträger ist voll." in shown
    sent = {"file": SimpleUploadedFile("a.txt", b"Some text.")}
    assert "Datenträger" in german.post(JOBS, sent, headers=PAGE).json()["message"]


def refusals() -> dict[str, Callable[[Client], HttpResponse]]:
    """Requests of a page that are refused, by what is wrong."""

    def send(**fields: Any) -> Callable[[Client], HttpResponse]:
        return lambda client: client.post(
            LIST, {"file": SimpleUploadedFile("a.txt", b"Text"), **fields}, follow=True
        )

    def act(url: str, **fields: Any) -> Callable[[Client], HttpResponse]:
        return lambda client: client.post(url, fields, follow=True)

    selection = reverse("ingestion_progress:job_selection")
    deletion = reverse("ingestion_progress:batch_deletion", args=["b"])
    admin_list = reverse("admin:ingestion_progress_job_changelist")
    running, ended = "j1", "j2"
    actions = ["cancel_jobs", "retry_selected", "retry_failed_items", "mark_selected_lost"]
    return {
        "metadata": send(metadata="["),
        "nested metadata": send(metadata='{"a":' * 9 + "1" + "}" * 9),
        "long metadata": send(metadata=json.dumps({"a": "a" * 5000})),
        "very long metadata": send(metadata="a" * 9000),
        "list as metadata": send(metadata="[1]"),
        "no file": act(LIST),
        "cancel an ended job": act(cancellation_of(ended)),
        "retry a running job": act(retry_of(running)),
        "retry without a task": act(retry_of(ended)),
        "delete a running job": act(reverse("ingestion_progress:job_deletion", args=[running])),
        "retry selected": act(selection, action="retry", job=[running]),
        "cancel selected": act(selection, action="cancel", job=[ended]),
        "delete an active batch": act(deletion),
        **{
            f"{action} {job_id}": act(
                admin_list, action=action, _selected_action=[job_id], confirmed="yes"
            )
            for action in actions
            for job_id in (ended, running)
        },
        "long query": lambda client: client.get(SEARCH, {"q": "a" * 300}),
        "control characters": lambda client: client.get(SEARCH, {"q": "a\x01"}),
        "odd type": lambda client: client.get(SEARCH, {"q": "a", "media_type": "a" * 300}),
        "odd page": lambda client: client.get(SEARCH, {"q": "a", "page": "x"}),
    }


@pytest.mark.usefixtures("german_jobs")
@pytest.mark.parametrize("name", refusals())
def test_refusal_on_a_page_has_no_english_words(german, name):
    response = refusals()[name](german)
    assert '<html lang="de"' in response.text
    assert english_of_page(response.text) == []


def test_person_without_permission_reads_german(german, settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    client = Client(headers={"Accept-Language": "de"})
    user = User.objects.create_user("ben")
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    client.force_login(user)
    response = client.post(LIST, {"file": SimpleUploadedFile("a.txt", b"Text")})
    assert response.status_code == 403
    assert english_of_page(response.text) == []
    sent = {"file": SimpleUploadedFile("a.txt", b"Text")}
    answer = client.post(JOBS, sent, headers=PAGE)
    assert answer.status_code == 403
    assert is_german(answer.json()["message"])


def test_quota_is_german_on_pages(german, settings):
    settings.INGESTION_PROGRESS_UPLOADS_PER_HOUR_PER_USER = 1
    for _ in range(2):
        sent = {"file": SimpleUploadedFile("a.txt", b"Text")}
        response = german.post(JOBS, sent, headers=PAGE)
    assert response.status_code == 429
    assert "Zu viele Uploads: höchstens 1 pro Stunde." in response.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("get", f"{JOBS}/none", {}),
        ("get", f"{JOBS}?status=odd&limit=x", {}),
        ("get", "/api/v1/nowhere", {}),
        ("put", JOBS, {}),
        ("post", JOBS, {}),
        ("post", JOBS, {"batch": "/"}),
        ("get", "/api/v1/search?q=", {}),
        ("get", "/api/v1/search?q=a&odd=1", {}),
        ("post", f"{JOBS}/j/cancellation", {}),
        ("post", f"{JOBS}/j/retry", {}),
        ("get", "/api/v1/admin/ingestion/jobs/none/progress", {}),
        ("get", "/api/v1/documents/none", {}),
        ("get", "/api/v1/batches/none", {}),
    ],
)
def test_programs_read_english_whatever_language_they_accept(german, method, path, fields):
    job_with(JobStatus.SUCCEEDED, job_id="j")
    assert Job.objects.count() == 1
    plain = Client()
    plain.force_login(User.objects.get())
    sent = [getattr(client, method)(path, fields) for client in (german, plain)]
    assert sent[0].status_code == sent[1].status_code >= 400
    assert sent[0].json() == sent[1].json()
