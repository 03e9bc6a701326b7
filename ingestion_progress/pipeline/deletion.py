"""Deletes documents with all that was made of them: file, chunks, entities and relations."""

from collections.abc import Collection

from django.db import router, transaction

from ingestion_progress.models import Job
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.pipeline.exceptions import DocumentBusy, DocumentNotFound
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stores import vector_store


def delete_document(document_id: str) -> None:
    """Deletes the document for good; a search no longer finds it. Its jobs stay.

    Raises DocumentNotFound, DocumentBusy while one of its jobs waits or runs, or
    VectorStoreUnavailable; then it stays as it was.
    """
    _delete(document_id, unless=Job.objects.active())


def delete_unused_document(document_id: str, job_ids: Collection[str] = ()) -> bool:
    """Deletes the document if there is one and no other job than these refers to it."""
    try:
        _delete(document_id, unless=Job.objects.exclude(pk__in=job_ids))
    except (DocumentNotFound, DocumentBusy):
        return False
    return True


def _delete(document_id: str, *, unless: JobQuerySet) -> None:
    using = router.db_for_write(Document)
    with transaction.atomic(using=using):
        rows = Document.objects.using(using).filter(pk=document_id)
        document = rows.select_for_update().first()
        if document is None:
            raise DocumentNotFound(document_id)
        # Queried inside the row lock: an upload of the same document waits for it.
        job = unless.filter(document_id=document_id).first()
        if job is not None:
            raise DocumentBusy(document.name, job.pk)
        # First, because it can be repeated if the rest is rolled back.
        vector_store().discard(document_id)
        document.delete(using=using)
    for version in [*document.replaced, {"file": document.file.name}]:
        document.file.storage.delete(version["file"])
