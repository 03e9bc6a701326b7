"""Ingests one document, as an example of a task that uses the tracker.

Parsing and image description run first. Chunking, embedding and extraction then run concurrently.
"""

from typing import BinaryIO, cast

from django.db import router, transaction

from ingestion_progress.exceptions import JobNotFound
from ingestion_progress.models import Job
from ingestion_progress.pipeline.chunk_stream import ChunkStream, Components
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import (
    DocumentBusy,
    DocumentNotFound,
    StoredFileMissing,
)
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages.parsers import parser_for
from ingestion_progress.pipeline.stages.parsing import read_document
from ingestion_progress.pipeline.stores.graph import DatabaseGraph
from ingestion_progress.pipeline.uploads.media_types import MediaType
from ingestion_progress.tracker import JobTracker, fail_job, track


def ingest(job_id: str) -> None:
    """Runs a queued job. Raises JobExists if it has started before, or JobNotFound.

    An error that ends the job, such as JobCancelled or UnreadableDocument, is recorded and
    re-raised.
    """
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise JobNotFound(job_id)
    document = Document.objects.filter(pk=job.document_id).first()
    if document is None:
        missing = DocumentNotFound(job.document_id)
        fail_job(job_id, str(missing))
        raise missing
    workers = conf.extraction_workers
    with track(document.name, job_id=job_id, workers=workers) as tracker:
        claim(job_id, document)
        ingest_document(tracker, document)


def load_parsers() -> None:
    """Imports all parsers now instead of with the first document."""
    for media_type in MediaType:
        parser_for(media_type)


def ingest_document(job: JobTracker, document: Document) -> None:
    components = Components(graph=DatabaseGraph(document.pk))
    with _open(document) as file:
        content = read_document(job, document, file, components.describer)
    # The former text is deleted first, so a crash may leave too little but no duplicates.
    components.vectors.clear(document.pk)
    components.graph.clear()
    ChunkStream(job, document, components).run(content)


def _open(document: Document) -> BinaryIO:
    try:
        return cast("BinaryIO", document.file.open("rb"))
    except FileNotFoundError as error:
        raise StoredFileMissing(document.name) from error


def claim(job_id: str, document: Document) -> None:
    """Locks a document for a job, because two jobs at a time would write a mixture of both.

    The lock ends when the job ends or has no heartbeat. Raises DocumentBusy.
    """
    using = router.db_for_write(Document)
    with transaction.atomic(using=using):
        locked = Document.objects.using(using).select_for_update().get(pk=document.pk)
        # Queried inside the row lock: the status of its former holder is committed.
        others = Job.objects.running().exclude(pk=job_id).filter(pk=locked.ingested_by)
        if others.exclude(pk__in=Job.objects.silent().values("pk")).exists():
            raise DocumentBusy(document.name, locked.ingested_by)
        Document.objects.using(using).filter(pk=document.pk).update(ingested_by=job_id)
