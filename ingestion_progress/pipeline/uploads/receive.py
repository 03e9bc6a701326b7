"""The way in: a file becomes a stored document, a queued job and a task, or nothing at all."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from django.apps import apps
from django.core.files import File
from django.db import router, transaction
from django.utils.module_loading import import_string

from ingestion_progress.models import Job, clean_batch, clean_job_id
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import (
    DocumentNotStored,
    EmptyDocument,
    TaskNotQueued,
    UploadTooLarge,
)
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.uploads.media_types import MediaType, media_type_of
from ingestion_progress.pipeline.uploads.names import clean_name, stable_id
from ingestion_progress.pipeline.uploads.replacement import Replacement
from ingestion_progress.tracker import delete_job, queue_job, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("ingestion_progress.pipeline")

PIECE_BYTES = 256 * 1024
# Larger uploads are looked at on disk.
IN_MEMORY_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that has been looked at and may be stored."""

    file: IO[bytes]
    name: str
    media_type: MediaType
    size_bytes: int
    sha256: str


def receive(
    file: Any,
    *,
    name: str = "",
    job_id: str | None = None,
    document_id: str | None = None,
    batch: str | None = None,
    is_enqueued: bool = True,
) -> Job:
    """Stores a document and queues its ingestion, which starts once the transaction is committed.

    `file`: anything with `read`, such as an upload or an open file; `name`: the user's name for
    it, by default the file's own. `document_id`: what it replaces; by default the same name is
    the same document. `batch`: a name for what comes together. `is_enqueued=False` leaves it to
    the caller to run the job.

    Raises UnreadableDocument (EmptyDocument, UploadTooLarge, DocumentTooLarge, UnsupportedDocument,
    MislabelledDocument, DamagedDocument), DocumentNotStored, JobExists, InvalidJobId, InvalidBatch
    or TaskNotQueued; then nothing is left behind, and what was to be replaced stays as it was. In a
    transaction of the caller, TaskNotQueued may come from its commit.
    """
    cleaned = clean_name(name or getattr(file, "name", "") or "")
    key = clean_job_id(document_id) if document_id is not None else stable_id(cleaned)
    if job_id is not None:
        clean_job_id(job_id)
    if batch is not None:
        clean_batch(batch)
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as spool:
        upload = _inspect(file, cleaned, cast("IO[bytes]", spool))
        return _store(upload, key, job_id, batch, is_enqueued=is_enqueued)


def _inspect(file: Any, name: str, spool: IO[bytes]) -> Upload:
    digest = hashlib.sha256()
    size = 0
    for piece in _pieces(file):
        size += len(piece)
        if size > conf.max_upload_bytes:
            raise UploadTooLarge(
                f"“{name}” is larger than {_megabytes(conf.max_upload_bytes)}, "
                "the limit for a document."
            )
        digest.update(piece)
        with _said(name):
            spool.write(piece)
    if not size:
        raise EmptyDocument(f"“{name}” is empty.")
    return Upload(
        file=spool,
        name=name,
        media_type=media_type_of(cast("BinaryIO", spool), name),
        size_bytes=size,
        sha256=digest.hexdigest(),
    )


def _store(
    upload: Upload, key: str, job_id: str | None, batch: str | None, *, is_enqueued: bool
) -> Job:
    using = router.db_for_write(Document)
    document = _stored(upload, key)
    replacement = Replacement(document)
    try:
        with transaction.atomic(using=using):
            replacement.make()
            job = queue_job(
                upload.name,
                job_id=job_id,
                document_id=key,
                batch=batch,
                workers=conf.extraction_workers,
            )
            if is_enqueued:
                _hand_over(job.pk, replacement, using)
            # Not reached where the task could not be queued at the commit.
            transaction.on_commit(replacement.keep, using=using, robust=True)
    except BaseException:
        if not replacement.is_committed:
            # The row went with the transaction, a file does not.
            document.file.delete(save=False)
        raise
    logger.info("document_received", extra={"job_id": job.pk, "document_id": key})
    return job


def _stored(upload: Upload, key: str) -> Document:
    """The file, and what its row is to be."""
    document = Document(
        id=key,
        name=upload.name,
        media_type=upload.media_type.value,
        size_bytes=upload.size_bytes,
        sha256=upload.sha256,
    )
    upload.file.seek(0)
    with _said(upload.name):
        document.file.save(upload.name, File(upload.file), save=False)
    return document


@contextmanager
def _said(name: str) -> Iterator[None]:
    """What the disk refuses is no fault of the document. Raises DocumentNotStored."""
    try:
        yield
    except OSError as error:
        logger.exception("document_not_stored")
        raise DocumentNotStored(f"“{name}” could not be stored. {reason_of(error)}") from error


def _hand_over(job_id: str, replacement: Replacement, using: str) -> None:
    """Queues the task in the job's own transaction where that is possible: then both are there or
    neither, whenever this process dies. Another queue's worker might look for the job too early.
    """
    if _is_queue_in(using):
        _enqueue(job_id)
    else:
        enqueue = partial(_enqueue_or_take_back, job_id, replacement)
        transaction.on_commit(enqueue, using=using)


def _is_queue_in(using: str) -> bool:
    """Is the task queue a table of this database, as the jobs are?"""
    if not apps.is_installed("django_tasks_db"):
        return False
    from django_tasks_db import DatabaseBackend
    from django_tasks_db.models import DBTaskResult

    is_table = isinstance(import_string(conf.task).get_backend(), DatabaseBackend)
    return is_table and {router.db_for_write(model) for model in (DBTaskResult, Job)} == {using}


def _enqueue(job_id: str) -> None:
    try:
        import_string(conf.task).enqueue(job_id)
    except Exception as error:
        raise TaskNotQueued(
            "The task queue did not take the document. Is its database or broker reachable?"
        ) from error


def _enqueue_or_take_back(job_id: str, replacement: Replacement) -> None:
    """Undoes what is committed already where the queue does not take it."""
    try:
        _enqueue(job_id)
    except TaskNotQueued:
        delete_job(job_id)
        replacement.undo()
        raise


def _pieces(file: Any) -> Iterator[bytes]:
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)
    while piece := file.read(PIECE_BYTES):
        yield piece


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.3g} MB"
