"""One document through all stages: the reference of how a task uses the tracker.

Pages are parsed and pictures described first. Then chunks stream: while pages are still being
cut, one thread embeds and stores what is there, and a pool of workers extracts from it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from django.db import router, transaction

from ingestion_progress.exceptions import JobNotFound
from ingestion_progress.models import Job
from ingestion_progress.pipeline.chunk_stream import ChunkStream, Tools
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import (
    DocumentBusy,
    DocumentNotFound,
    IngestionStopped,
    StoredFileMissing,
)
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages.parsers import parser_for
from ingestion_progress.pipeline.stages.parsing import read_document
from ingestion_progress.pipeline.uploads.media_types import MediaType
from ingestion_progress.tracker import fail_job, track

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingestion_progress.tracker import JobTracker


def ingest(job_id: str) -> None:
    """Runs a queued job to its end.

    Raises what ended it: JobCancelled, UnreadableDocument or another error, which the job has
    recorded; JobExists where it runs or has ended already, JobNotFound where there is none.
    """
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise JobNotFound(job_id)
    document = Document.objects.filter(pk=job.document_id).first()
    if document is None:
        missing = DocumentNotFound(job.document_id)
        fail_job(job_id, str(missing))
        raise missing
    with track(document.name, job_id=job_id, workers=conf.extraction_workers) as tracker, _stops():
        claim(job_id, document)
        ingest_document(tracker, document)


def warm_up() -> None:
    """Loads what is loaded on demand, so that the first document does not wait for it."""
    for media_type in MediaType:
        parser_for(media_type)


def ingest_document(job: JobTracker, document: Document) -> None:
    """The stages of one document, reported to a job that runs."""
    tools = Tools.of(document.pk)
    with _opened(document) as file:
        content = read_document(job, document, file, tools.describer)
    # From here on the old text is gone. A crash leaves less than there was, never twice.
    tools.vectors.clear(document.pk)
    tools.graph.clear()
    ChunkStream(job, document, tools).run(content)


@contextmanager
def _opened(document: Document) -> Iterator[BinaryIO]:
    try:
        document.file.open("rb")
    except FileNotFoundError as error:
        raise StoredFileMissing(document.name) from error
    with document.file as file:
        yield cast("BinaryIO", file)


@contextmanager
def _stops() -> Iterator[None]:
    """A process that is told to stop gives the job a reason that a person understands."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        reason = stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, str) else ""
        raise IngestionStopped(reason or "The ingestion was stopped.") from stop


def claim(job_id: str, document: Document) -> None:
    """Two jobs that replace one document at a time would leave a mixture of both: of those that
    run, exactly one gets it. Raises DocumentBusy. Given up by ending, or by falling silent.
    """
    using = router.db_for_write(Document)
    with transaction.atomic(using=using):
        locked = Document.objects.using(using).select_for_update().get(pk=document.pk)
        # Asked after the lock: whoever held it before has said that it runs.
        others = Job.objects.running().exclude(pk=job_id).filter(pk=locked.ingested_by)
        if others.exclude(pk__in=Job.objects.silent().values("pk")).exists():
            raise DocumentBusy(document.name, locked.ingested_by)
        Document.objects.using(using).filter(pk=document.pk).update(ingested_by=job_id)
