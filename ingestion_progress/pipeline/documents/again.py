"""Ingests a stored document again, with a new job."""

from typing import Any

from django.db import router, transaction

from ingestion_progress.models import Job
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.documents.edition_writers import editions
from ingestion_progress.pipeline.documents.versions import jobs_of_version
from ingestion_progress.pipeline.exceptions import (
    DocumentBusy,
    DocumentNotFound,
    StoredFileMissing,
)
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.uploads.queue import queue_task_of
from ingestion_progress.tracker import delete_job, queue_job


def ingest_again(document_id: str, *, owner: Any = None) -> Job:
    """Queues a job for the stored file. Search shows the present text until it is complete.

    The job has the metadata of the one that has written what search shows. Raises DocumentNotFound,
    StoredFileMissing, TaskNotQueued, or DocumentBusy while a job ingests this version.
    """
    using = router.db_for_write(Document)
    with transaction.atomic(using=using):
        rows = Document.objects.using(using).filter(pk=document_id)
        document = rows.select_for_update().first()
        if document is None:
            raise DocumentNotFound(document_id)
        busy = jobs_of_version(document_id, document.sha256).active().first()
        if busy is not None:
            raise DocumentBusy(document.name, busy.pk)
        if not document.file.storage.exists(document.file.name or ""):
            raise StoredFileMissing(document.name)
        published = editions().filter(document=document, epoch=document.published_epoch)
        former = Job.objects.filter(pk__in=list(published.values_list("job_id", flat=True))).first()
        job = queue_job(
            document.name,
            document_id=document.pk,
            workers=conf.extraction_workers,
            task=conf.task,
            document_version=document.sha256,
            owner=owner,
            metadata=former.metadata if former else None,
        )
        queue_task_of(job, using, on_refusal=lambda: delete_job(job.pk))
    return job
