"""A deleted document leaves nothing behind, also if a job of it waits or runs."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from ingestion_progress.exceptions import JobCancelled
from ingestion_progress.models import Job
from ingestion_progress.pipeline.documents.deletion import (
    delete_document,
    delete_unused_document,
    discard_deleted,
)
from ingestion_progress.pipeline.documents.editions import claim, publish, settle
from ingestion_progress.pipeline.exceptions import DocumentNotFound, VectorStoreUnavailable
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import (
    DeletedEdition,
    Document,
    Edition,
    Entity,
    ParsedPage,
    PendingVersion,
    Relation,
)
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.stages import Chunk, Embedding
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.stores.embedded.connections import close_all
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from ingestion_progress.pipeline.tasks import ingest_document
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import track
from tests.pipeline.test_ingestion import with_components

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

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


def test_deleting_a_document_that_waits_for_its_ingestion_cancels_the_job():
    job = receive(ContentFile(b"text", "a.txt"))
    delete_document(job.document_id, by="anna")
    job.refresh_from_db()
    assert (job.status, job.cancel_requested_by) == ("cancelled", "anna")
    ingest_document.call(job.pk)  # its task was queued before
    assert not Document.objects.exists()


def test_files_of_all_versions_are_deleted(settings):
    document_id = ingested("a.txt", "1").document_id
    receive(ContentFile(b"newer", "a.txt"), is_enqueued=False)
    assert len(files(settings.MEDIA_ROOT)) == 2
    delete_document(document_id)
    assert files(settings.MEDIA_ROOT) == []
    assert not PendingVersion.objects.exists()


def everything_is_gone(settings) -> bool:
    models = (Document, Edition, DeletedEdition, Entity, Relation, ParsedPage, PendingVersion)
    rows = [model._default_manager.count() for model in models]
    return (rows, files(settings.MEDIA_ROOT), search("Babbage")) == ([0] * len(models), [], [])


@pytest.mark.parametrize("at", ["before a write", "after a write"])
def test_running_job_is_cancelled_and_nothing_that_it_writes_remains(settings, monkeypatch, at):
    job = receive(ContentFile(TEXT.encode(), "a.txt"), is_enqueued=False)

    class Deleting(EmbeddedVectors):
        def write(self, *args):
            if at == "after a write":
                super().write(*args)
            delete_document(job.document_id)
            return super().write(*args)

    with_components(monkeypatch, vectors=Deleting())
    with pytest.raises(JobCancelled), synchronous_tracking():
        ingest(job.pk)
    job.refresh_from_db()
    assert (job.status, job.error) == ("cancelled", "Cancelled on request.")
    discard_deleted()
    assert everything_is_gone(settings)
    assert EmbeddedVectors().count(job.document_id) == 0


def test_what_a_killed_process_wrote_after_the_deletion_is_discarded_when_its_job_has_ended(
    settings,
):
    job = receive(ContentFile(TEXT.encode(), "a.txt"), is_enqueued=False)
    document = Document.objects.get()
    killed = track("a.txt", job_id=job.pk, document_id=document.pk)
    killed.start()
    claim(killed, document)
    delete_document(document.pk)
    chunk = Chunk(key="c-1", text=TEXT)
    EmbeddedVectors().write(
        document, killed.epoch, [(chunk, Embedding(Bm25Embedder().embed(TEXT)))]
    )
    discard_deleted()
    assert EmbeddedVectors().count(document.pk) == DeletedEdition.objects.count() == 1
    killed.fail("It was killed.")
    discard_deleted()
    assert EmbeddedVectors().count(document.pk) == 0
    assert everything_is_gone(settings)


def test_document_can_be_uploaded_again_while_the_job_of_the_deleted_one_stops():
    job = receive(ContentFile(TEXT.encode(), "a.txt"), is_enqueued=False)
    document = Document.objects.get()
    with pytest.raises(JobCancelled), track("a.txt", job_id=job.pk) as stopping:
        claim(stopping, document)
        delete_document(document.pk)
        ingested("a.txt", "again")
        with pytest.raises(JobCancelled):
            publish(stopping, document)
        settle(document.pk, job.pk, stopping.epoch)
        raise JobCancelled(job.pk)
    discard_deleted()
    assert [hit.document_id for hit in search("Babbage")] == [document.pk]
    assert Edition.objects.count() == 1


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
        call_command("forget", document_id, "missing", stdout=out, stderr=err)
    assert out.getvalue() == f"a.txt is deleted ({document_id}).\n"
    assert err.getvalue().startswith("There is no document missing.")


def test_command_deletes_by_name_and_by_batch():
    for name, batch, document_id in [("a.txt", "", "1"), ("a.txt", "x", "2"), ("b.txt", "x", "3")]:
        file = ContentFile(TEXT.encode(), name)
        receive(file, document_id=document_id, batch=batch or None, is_enqueued=False)
    receive(ContentFile(b"text", "c.txt"), document_id="4", is_enqueued=False)
    call_command("forget", name=["a.txt"], stdout=StringIO())
    assert set(Document.objects.values_list("pk", flat=True)) == {"3", "4"}
    call_command("forget", batch=["x"], stdout=StringIO())
    assert set(Document.objects.values_list("pk", flat=True)) == {"4"}
    for options in ({"name": ["a.txt"]}, {"batch": ["x"]}, {"batch": [""]}):
        with pytest.raises(CommandError, match="There is no such document"):
            call_command("forget", **options, stdout=StringIO())
    with pytest.raises(CommandError, match="Name a document"):
        call_command("forget", stdout=StringIO())


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
