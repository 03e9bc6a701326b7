"""Who writes an edition: the newest attempt of its job, until the edition is discarded."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

from django.db import connections, router
from django.db.models import QuerySet

from ingestion_progress.concurrency.write_queue import write_transaction
from ingestion_progress.exceptions import JobCancelled, JobSuperseded
from ingestion_progress.models import Job, rows_by
from ingestion_progress.pipeline.models import Document, Edition


@contextmanager
def writing(document_id: str, job_id: str, epoch: str) -> Iterator[None]:
    """A transaction in which no other attempt of the job can become the writer.

    Raises JobSuperseded if another one is, or if its edition was deleted, and JobCancelled if the
    document was.
    """
    with locked(document_id):
        raise_if_not_writer(document_id, job_id, epoch)
        yield


def raise_if_not_writer(document_id: str, job_id: str, epoch: str) -> None:
    """Raises what `writing` raises. Another attempt may become the writer at any time."""
    if not editions_of(document_id, epoch=epoch, job_id=job_id, is_writable=True):
        raise refusal(job_id, epoch)


def is_to_be_continued(document_id: str, job_id: str, epoch: str) -> bool:
    """False: the edition is discarded, or is to be."""
    return editions().filter(document_id=document_id, epoch=epoch, job_id=job_id).exists()


def refusal(job_id: str, epoch: str) -> JobCancelled | JobSuperseded:
    """The deletion of a document cancels its jobs, which may not know it yet."""
    cancelled = Job.objects.filter(pk=job_id, epoch=epoch, cancel_requested_at__isnull=False)
    return JobCancelled(job_id) if cancelled.exists() else JobSuperseded(job_id)


def editions() -> QuerySet[Edition]:
    return Edition.objects.using(using())


def editions_of(document_id: str, **also: object) -> list[Edition]:
    """The editions of one document, the oldest first. `also`: fields with a value."""
    values = {field: [value] for field, value in also.items()}
    found = rows_by(Edition, "document", [document_id], using=using(), also=values)
    return sorted(found, key=attrgetter("pk"))


@contextmanager
def locked(document_id: str) -> Iterator[QuerySet[Document]]:
    """The document, locked until the end of the block."""
    rows = Document.objects.using(using()).filter(pk=document_id)
    with write_transaction(using()):
        if connections[using()].features.has_select_for_update:  # SQLite locks its whole file
            rows.select_for_update().values_list("pk").first()
        yield rows


def using() -> str:
    return router.db_for_write(Document)
