"""Uploads in storages that are not on this host."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.storage import default_storage, storages
from django.db import connection

from ingestion_progress.exceptions import JobCancelled
from ingestion_progress.models import Job
from ingestion_progress.pipeline.checks import check_uploads
from ingestion_progress.pipeline.documents.deletion import delete_document
from ingestion_progress.pipeline.exceptions import (
    DocumentNotStored,
    StorageUnavailable,
    StoredFileMissing,
)
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.uploads import stored_file
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.pipeline.uploads.stored_file import open_stored
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import request_cancellation
from tests.support.documents import pdf, storage  # noqa: F401
from tests.support.s3 import BUCKET, S3, s3_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("storage")]


@pytest.fixture
def s3(settings, monkeypatch) -> Iterator[S3]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with s3_server() as s3:
        options = {"bucket_name": BUCKET, "endpoint_url": s3.url}
        backend = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
        settings.STORAGES = settings.STORAGES | {"default": backend}
        yield s3


def uploaded(content: bytes = b"Bees make honey.", name: str = "a.txt") -> Document:
    job = receive(io.BytesIO(content), name=name, is_enqueued=False)
    return Document.objects.get(pk=job.document_id)


def opened(document: Document) -> bytes:
    with open_stored(document) as file:
        return file.read()


def test_document_in_s3_is_stored_ingested_and_deleted(s3):
    job = receive(io.BytesIO(pdf(2)), name="a.pdf", is_enqueued=False)
    (name,) = s3.objects
    assert s3.objects[name].startswith(b"%PDF")
    with synchronous_tracking():
        ingest(job.pk)
    assert Job.objects.get(pk=job.pk).status == "succeeded"
    assert s3.reads == [name]  # a parser reads back and forth in the copy
    delete_document(job.document_id)
    assert s3.objects == {}


def test_local_file_is_read_where_it_is():
    document = uploaded()
    with open_stored(document) as file:
        assert file.fileno() > 0
        assert Path(file.file.name) == Path(default_storage.path(document.file.name))


def test_cancelling_does_not_wait_for_the_copy(s3, monkeypatch):
    job = receive(io.BytesIO(b"Bees make honey."), name="a.txt", is_enqueued=False)
    is_reading, may_return, copies = threading.Event(), threading.Event(), []

    def before_read() -> None:
        is_reading.set()
        assert may_return.wait(60)

    s3.before_read = before_read
    copied = stored_file._copied
    monkeypatch.setattr(
        stored_file, "_copied", lambda document: copies.append(copied(document)) or copies[0]
    )

    def cancel() -> None:
        assert is_reading.wait(60)
        request_cancellation(job.pk)
        connection.close()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(JobCancelled):
        ingest(job.pk)
    canceller.join()
    assert Job.objects.get(pk=job.pk).status == "cancelled"
    (thread,) = [each for each in threading.enumerate() if each.name == "copy-upload"]
    assert not may_return.is_set()
    may_return.set()
    thread.join(60)
    assert copies[0].closed


def test_copy_is_seekable_and_gone_when_it_is_closed(s3, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    content = b"Bees make honey. " * 50_000
    document = uploaded(content)
    with open_stored(document) as file:
        assert file.read() == content
        file.seek(5)
        assert file.read(4) == b"make"
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_gone_is_missing(s3):
    document = uploaded()
    s3.objects.clear()
    with pytest.raises(StoredFileMissing):
        open_stored(document)


@pytest.mark.parametrize("content", [b"Bees", b"Bees make honey. And more than was uploaded."])
def test_incomplete_or_larger_file_is_not_read(s3, content):
    document = uploaded()
    (name,) = s3.objects
    s3.objects[name] = content
    with pytest.raises(StorageUnavailable):
        open_stored(document)


def test_failing_storage_is_a_temporary_error(s3):
    document = uploaded()
    s3.is_failing = True
    with pytest.raises(StorageUnavailable):
        open_stored(document)
    s3.is_failing = False
    assert opened(document) == b"Bees make honey."


def test_upload_to_a_failing_storage_is_refused_and_leaves_nothing(s3):
    s3.is_failing = True
    with pytest.raises(DocumentNotStored, match="The storage of uploads failed"):
        uploaded()
    assert not Job.objects.exists()
    assert not Document.objects.exists()


def test_check_names_the_extra_if_the_storage_is_not_installed(settings):
    backend = {"BACKEND": "storages_that_are_not.S3Storage"}
    settings.STORAGES = settings.STORAGES | {"default": backend}
    (error,) = check_uploads()
    assert error.id == "ingestion_pipeline.E004"
    assert "django-ingestion-progress[s3]" in error.hint


def test_storage_of_the_tests_passes_the_check():
    assert not list(check_uploads())
    assert stored_file.is_local(storages["default"])
    assert Path(default_storage.path("")).is_absolute()
