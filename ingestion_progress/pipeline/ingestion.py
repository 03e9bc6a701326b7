"""Ingests one document, as an example of a task that uses the tracker.

Parsing and image description run first. Chunking, embedding and extraction then run concurrently.
"""

import logging
from functools import partial

from ingestion_progress.exceptions import JobCancelled, JobExists, JobNotFound
from ingestion_progress.models import Job, rows_by
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.pipeline.components import Components
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.documents.edition_writers import editions
from ingestion_progress.pipeline.documents.editions import adopted, claim, publish, settle
from ingestion_progress.pipeline.documents.versions import NEWER_VERSION, SHA_LENGTH, document_of
from ingestion_progress.pipeline.exceptions import (
    DocumentNotFound,
    EditionMissing,
)
from ingestion_progress.pipeline.models import Document, ParsedPage
from ingestion_progress.pipeline.retries import PASSING, patiently
from ingestion_progress.pipeline.stages import chunk_number
from ingestion_progress.pipeline.stages.chunk_stream import ChunkStream
from ingestion_progress.pipeline.stages.parsing import read_document
from ingestion_progress.pipeline.stages.shared_extraction import SharedChunkStream
from ingestion_progress.pipeline.stores.results import stored
from ingestion_progress.pipeline.uploads.stored_file import open_stored
from ingestion_progress.tracker import JobTracker, fail_job, request_cancellation, track


def ingest(job_id: str, *, retry_on: tuple[type[BaseException], ...] = PASSING) -> None:
    """Runs a queued job. Raises JobExists if it runs or has ended, or JobNotFound.

    An error that ends the attempt, such as JobCancelled or UnreadableDocument, is recorded and
    re-raised. After one of `retry_on` the next attempt is due.
    """
    job = next(iter(rows_by(Job, "pk", [job_id])), None)
    if job is None:
        raise JobNotFound(job_id)
    document = document_of(job)
    if document is None:
        raise _without_document(job)
    version, continues = _version(job, document)
    tracker = track(
        document.name,
        job_id=job_id,
        workers=conf.extraction_workers,
        document_version=version,
        retry_on=(EditionMissing, *retry_on),
        capture_logs=logging.WARNING,  # what a parser says about the file
    )
    try:
        with tracker:
            former = patiently(tracker, lambda: claim(tracker, document, version))
            if continues and not former:
                raise EditionMissing
            ingest_document(tracker, document, former)
    finally:
        if tracker.is_started:
            settle(document.pk, job_id, tracker.epoch)


def _without_document(job: Job) -> Exception:
    """Ends a job that cannot start, and returns the error: its document was deleted, or a newer
    version was complete before this one.
    """
    if job.job_status is JobStatus.CANCELLED:  # its task was queued before
        return JobCancelled(job.pk)
    if job.is_finished:
        return JobExists(job.pk, job.status)
    if Document.objects.filter(pk=job.document_id).exists():
        request_cancellation(job.pk, by=NEWER_VERSION)
        return JobCancelled(job.pk)
    missing = DocumentNotFound(job.document_id)
    fail_job(job.pk, str(missing))
    return missing


def _version(job: Job, document: Document) -> tuple[str, bool]:
    """A name for the document's content, and whether an earlier attempt has stored a part of it.

    If nothing is left of earlier attempts, the name is new, so the tracker forgets their keys.
    """
    is_same = job.document_version.startswith(document.sha256[:SHA_LENGTH])
    if is_same and job.attempt == 1:
        return job.document_version, False
    former = editions().filter(document=document, job_id=job.pk, version=job.document_version)
    if is_same and former.exists() and _is_cut_alike(job):
        return job.document_version, True
    return f"{document.sha256[:SHA_LENGTH]}-{job.epoch}", False


def _is_cut_alike(job: Job) -> bool:
    """Do the pages give the same chunks as before? Those that failed may be read now, for example
    because OCR was installed, unless they were parsed in this run.
    """
    has_failed = job.stages.filter(name="parsing", failed__gt=0).exists()
    return not has_failed or stored(ParsedPage).filter(job_id=job.pk).exists()


def ingest_document(job: JobTracker, document: Document, former: list[str]) -> None:
    components = Components()
    if former:
        _adopt(job, document, components, former)
    opened = partial(open_stored, document, job.raise_if_cancelled)
    content = read_document(job, document, opened, components.describer)
    stream = SharedChunkStream if conf.chunks_per_task > 0 else ChunkStream
    stream(job, document, components, continues=bool(former)).run(content)
    patiently(job, lambda: publish(job, document))


def _adopt(job: JobTracker, document: Document, components: Components, former: list[str]) -> None:
    """Adopts the editions of earlier attempts, and counts what they contain."""
    graph = components.graph.writer(document.pk, job.job_id, job.epoch)
    rows = patiently(job, lambda: graph.adopt(former))
    embedding, vectors = job.stage("embedding"), components.vectors

    def is_done(chunk: str) -> bool:
        return embedding.is_done(chunk_number(chunk))

    chunks = patiently(job, lambda: vectors.adopt(document.pk, job.epoch, former, is_done))
    job.count(
        entities_total=rows.entities,
        relations_total=rows.relations,
        neo4j_writes=rows.entities + rows.relations,
        qdrant_writes=chunks,
    )
    adopted(former)
