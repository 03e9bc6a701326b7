"""A new version of a document replaces the old one only when it is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestion_progress.exceptions import JobCancelled
from ingestion_progress.models import Job
from ingestion_progress.pipeline.exceptions import DamagedDocument
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document, Edition, Entity, PendingVersion
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.stages import chunk_stream
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from ingestion_progress.recovery import retry_job
from tests.pipeline.test_ingestion import ingested, queued, with_components
from tests.support.documents import docx, storage, stored_files  # noqa: F401

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("storage"),
    pytest.mark.database,
]

OLD = b"The gadwall dives."
NEW = b"The pintail sleeps."


def found() -> list[str]:
    return [word for word in ("gadwall", "pintail") if search(word)]


def stored_text() -> bytes:
    return Path(Document.objects.get().file.path).read_bytes()


def test_search_and_stored_file_are_those_of_the_old_version_until_the_new_one_is_complete(
    monkeypatch,
    storage,  # noqa: F811
):
    ingested(OLD, "a.txt")
    seen = []

    class Looking(Bm25Embedder):
        def embed(self, text, language=""):
            seen.append((found(), stored_text()))
            return super().embed(text, language)

    with_components(monkeypatch, embedder=Looking())
    ingested(NEW, "a.txt")
    assert seen == [(["gadwall"], OLD)]
    assert (found(), stored_text()) == (["pintail"], NEW)
    assert len(stored_files(storage)) == 1
    assert (Edition.objects.count(), PendingVersion.objects.count()) == (1, 0)


def test_failed_version_leaves_the_text_and_the_file_and_can_be_retried(monkeypatch):
    ingested(docx(), "a.docx")
    good = stored_text()
    monkeypatch.setattr(chunk_stream, "EMBEDDING_BATCH", 1)
    job = queued(docx(**{"word/document.xml": b"<w:document>"}), "a.docx")
    with pytest.raises(DamagedDocument):
        ingest(job.pk)
    assert stored_text() == good
    assert [hit.text for hit in search("honey")] == ["Bees make honey."]
    retry_job(job.pk)
    with pytest.raises(DamagedDocument):  # of the version of this job, not of the current one
        ingest(job.pk)


def test_newer_version_that_is_complete_first_supersedes_the_older_one(storage):  # noqa: F811
    older, newer = queued(OLD, "a.txt"), queued(NEW, "a.txt")
    ingest(newer.pk)
    older.refresh_from_db()
    assert (older.status, older.cancel_requested_by) == (
        "cancelled",
        "a newer version of the document",
    )
    retry_job(older.pk)
    with pytest.raises(JobCancelled):
        ingest(older.pk)
    assert (found(), stored_text()) == (["pintail"], NEW)
    assert len(stored_files(storage)) == 1


def test_older_version_that_runs_meanwhile_is_cancelled_and_leaves_nothing(monkeypatch):
    older, newer = queued(OLD, "a.txt"), queued(NEW, "a.txt")

    class Overtaken(Bm25Embedder):
        def embed(self, text, language=""):
            if b"gadwall" in text.encode():
                ingest(newer.pk)
            return super().embed(text, language)

    with_components(monkeypatch, embedder=Overtaken())
    with pytest.raises(JobCancelled):
        ingest(older.pk)
    statuses = dict(Job.objects.values_list("pk", "status"))
    assert statuses == {older.pk: "cancelled", newer.pk: "succeeded"}
    assert (found(), stored_text()) == (["pintail"], NEW)
    assert EmbeddedVectors().count(newer.document_id) == 1
    assert {entity.epoch for entity in Entity.objects.all()} <= {newer.epoch}
    assert Edition.objects.count() == 1


def test_versions_that_are_ingested_in_order_follow_each_other():
    older, newer = queued(OLD, "a.txt"), queued(NEW, "a.txt")
    ingest(older.pk)
    assert (found(), stored_text()) == (["gadwall"], OLD)
    ingest(newer.pk)
    assert (found(), stored_text()) == (["pintail"], NEW)


def test_former_version_may_return():
    for content, words in ((OLD, ["gadwall"]), (NEW, ["pintail"]), (OLD, ["gadwall"])):
        ingested(content, "a.txt")
        assert (found(), stored_text()) == (words, content)


def test_last_upload_wins_even_if_its_content_is_the_current_one():
    ingested(OLD, "a.txt")
    between, last = queued(NEW, "a.txt"), queued(OLD, "a.txt")
    ingest(last.pk)
    with pytest.raises(JobCancelled):
        ingest(between.pk)
    assert (found(), stored_text()) == (["gadwall"], OLD)
