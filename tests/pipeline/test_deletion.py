"""A deleted document leaves nothing behind, and documents in use are not deleted."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from ingestion_progress.models import Job
from ingestion_progress.pipeline.deletion import delete_document, delete_unused_document
from ingestion_progress.pipeline.exceptions import (
    DocumentBusy,
    DocumentNotFound,
    VectorStoreUnavailable,
)
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document, Entity, Relation
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.stores.embedded.connections import close_all
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.testing import synchronous_tracking

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "Ada Lovelace met Charles Babbage in London. The Analytical Engine was never built."


@pytest.fixture(autouse=True)
def stores(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.INGESTION_PROGRESS_QDRANT_PATH = tmp_path / "qdrant"
    yield
    close_all()


def ingested(name: str, job_id: str) -> Job:
    job = receive(ContentFile(TEXT.encode(), name), job_id=job_id, is_enqueued=False)
    with synchronous_tracking():
        ingest(job.pk)
    return Job.objects.get(pk=job.pk)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_deleted_document_leaves_no_file_no_chunk_and_no_graph(settings):
    gone, kept = ingested("a.txt", "1").document_id, ingested("b.txt", "2").document_id
    assert Entity.objects.filter(document=gone).exists()
    delete_document(gone)
    assert list(Document.objects.values_list("pk", flat=True)) == [kept]
    assert {hit.document_id for hit in search("Babbage")} == {kept}
    assert EmbeddedVectors().count(gone) == 0
    assert not Entity.objects.exclude(document=kept).exists()
    assert not Relation.objects.exclude(document=kept).exists()
    assert len(files(settings.MEDIA_ROOT)) == 1
    assert Job.objects.count() == 2
    with pytest.raises(DocumentNotFound):
        delete_document(gone)


def test_document_that_waits_for_its_ingestion_is_not_deleted():
    job = receive(ContentFile(b"text", "a.txt"), is_enqueued=False)
    with pytest.raises(DocumentBusy, match=job.pk):
        delete_document(job.document_id)
    assert Document.objects.exists()


def test_document_stays_as_it_was_if_its_chunks_cannot_be_deleted(settings, monkeypatch):
    document_id = ingested("a.txt", "1").document_id

    def refuse(*_: object) -> None:
        raise VectorStoreUnavailable("in use")

    monkeypatch.setattr(EmbeddedVectors, "discard", refuse)
    with pytest.raises(VectorStoreUnavailable):
        delete_document(document_id)
    assert Document.objects.exists()
    assert Entity.objects.exists()
    assert len(files(settings.MEDIA_ROOT)) == 1


def test_command_deletes_and_names_what_it_could_not_delete():
    document_id = ingested("a.txt", "1").document_id
    out, err = StringIO(), StringIO()
    with pytest.raises(CommandError, match="Not deleted: 1"):
        call_command("delete_document", document_id, "missing", stdout=out, stderr=err)
    assert out.getvalue() == f"{document_id} is deleted.\n"
    assert "missing" in err.getvalue()


def test_unused_document_has_no_job_but_those_that_are_pruned():
    ingested("a.txt", "1")
    document_id = ingested("a.txt", "2").document_id
    assert not delete_unused_document(document_id, {"1"})
    assert delete_unused_document(document_id, {"1", "2"})
    assert not delete_unused_document(document_id, {"1", "2"})


def test_pruning_deletes_documents_only_if_asked_and_only_unused_ones():
    ingested("a.txt", "old a")
    ingested("a.txt", "new a")
    ingested("b.txt", "old b")
    ingested("c.txt", "older c")
    ingested("c.txt", "old c")
    old = timezone.now() - timedelta(days=9)
    Job.objects.filter(pk__contains="old").update(created_at=old, started_at=old, finished_at=old)
    Job.objects.filter(pk="old b").update(finished_at=old - timedelta(days=9), started_at=None)
    call_command("prune_jobs", older_than=timedelta(days=15), stdout=StringIO())
    assert Document.objects.count() == 3
    call_command("prune_jobs", older_than=timedelta(days=1), documents=True, stdout=StringIO())
    assert set(Document.objects.values_list("name", flat=True)) == {"a.txt", "b.txt"}
    assert list(Job.objects.values_list("pk", flat=True)) == ["new a"]
