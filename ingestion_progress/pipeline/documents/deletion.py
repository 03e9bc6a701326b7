"""Deletes documents with all that was made of them: files, chunks, entities and relations."""

from collections.abc import Collection

from django.db import router, transaction
from django.db.models import QuerySet

from ingestion_progress.exceptions import ProgressUnavailable
from ingestion_progress.models import Job
from ingestion_progress.pipeline.documents.edition_writers import editions, using
from ingestion_progress.pipeline.documents.editions import discard_quietly
from ingestion_progress.pipeline.documents.versions import delete_files_on_commit, pending_versions
from ingestion_progress.pipeline.exceptions import DocumentNotFound
from ingestion_progress.pipeline.models import DeletedEdition, Document
from ingestion_progress.pipeline.stores import graph_store, vector_store
from ingestion_progress.pipeline.stores.results import delete_results_of_ended_jobs
from ingestion_progress.tracker.cancellations import request_cancellations


def delete_document(document_id: str, *, by: str = "") -> None:
    """Deletes the document for good: a search no longer finds it. Its jobs stay; those that wait or
    run are cancelled, and nothing that they write remains. `by` names who asks.

    Can be repeated. Raises DocumentNotFound, or VectorStoreUnavailable, GraphStoreUnavailable or
    ProgressUnavailable; then the document stays as it was.
    """
    with transaction.atomic(using=using()):
        document = _locked(document_id)
        if document is None:
            _discard(document_id)  # a restored backup may lack the row
            raise DocumentNotFound(document_id)
        _cancel_jobs(document_id, by)
        _delete(document)
    discard_deleted()


def delete_unused_document(document_id: str, job_ids: Collection[str] = ()) -> bool:
    """Deletes the document if there is one and no other job than these refers to it."""
    with transaction.atomic(using=using()):
        document = _locked(document_id)
        # Queried inside the row lock: an upload of the same document waits for it.
        others = Job.objects.exclude(pk__in=job_ids).filter(document_id=document_id)
        if document is None or others.exists():
            return False
        _delete(document)
    return True


def discard_deleted() -> None:
    """Discards what jobs have written into deleted documents, when they have ended."""
    deleted = _deleted_editions()
    ids = set(deleted.values_list("job_id", flat=True))
    active = Job.objects.active().filter(pk__in=ids).values_list("pk", flat=True)
    for each in deleted.exclude(job_id__in=list(active)):
        if discard_quietly(each.document_id, each.epoch):
            each.delete()
    delete_results_of_ended_jobs()


def _delete(document: Document) -> None:
    """Deletes a document in the transaction that has locked it."""
    pending = pending_versions(document.pk).values_list("file", flat=True)
    files = {document.file.name, *pending}
    _deleted_editions().bulk_create(
        DeletedEdition(document_id=document.pk, epoch=each.epoch, job_id=each.job_id)
        for each in editions().filter(document=document)
        if each.job_id
    )
    # Can be repeated if the rest is rolled back.
    _discard(document.pk)
    document.delete(using=using())
    delete_files_on_commit(document.file.storage, files)


def _discard(document_id: str) -> None:
    graph_store().discard(document_id)
    vector_store().discard(document_id)


def _cancel_jobs(document_id: str, by: str) -> None:
    active = Job.objects.using(router.db_for_write(Job)).active().filter(document_id=document_id)
    refused = request_cancellations(list(active.values_list("pk", flat=True)), by=by)
    for reason in refused.values():
        if isinstance(reason, ProgressUnavailable):  # the others have ended meanwhile
            raise reason


def _deleted_editions() -> QuerySet[DeletedEdition]:
    return DeletedEdition.objects.using(using())


def _locked(document_id: str) -> Document | None:
    rows = Document.objects.using(using()).filter(pk=document_id)
    return rows.select_for_update().first()
