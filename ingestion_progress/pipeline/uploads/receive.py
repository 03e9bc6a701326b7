"""Stores an uploaded file and queues its ingestion, or leaves nothing behind."""

import hashlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, BinaryIO, cast

from django.core.files import File
from django.db import router, transaction

from ingestion_progress.exceptions.sentences import Sentence
from ingestion_progress.models import Job, clean_batch, clean_job_id
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.documents.versions import delete_file_quietly
from ingestion_progress.pipeline.exceptions import (
    AlreadyIngested,
    DocumentNotStored,
    EmptyDocument,
    UploadTooLarge,
)
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages import LANGUAGE
from ingestion_progress.pipeline.uploads.identity import Uploader, choose_id, known_job
from ingestion_progress.pipeline.uploads.media_types import media_type_of
from ingestion_progress.pipeline.uploads.names import clean_name, stable_id
from ingestion_progress.pipeline.uploads.queue import queue_task_of
from ingestion_progress.pipeline.uploads.uploaded_version import UploadedVersion
from ingestion_progress.tracker import delete_job, queue_job, reason_of
from ingestion_progress.tracker.batches import join_batch

logger = logging.getLogger("ingestion_progress.pipeline")

READ_BYTES = 256 * 1024
# Larger uploads are checked on disk.
IN_MEMORY_BYTES = 1024 * 1024


def receive(
    file: Any,
    *,
    name: str = "",
    job_id: str | None = None,
    document_id: str | None = None,
    batch: str | None = None,
    batch_name: str = "",
    owner: object = None,
    metadata: Mapping[str, Any] | None = None,
    priority: int = 0,
    language: str = "",
    may_join: Callable[[str], bool] | None = None,
    visible: JobQuerySet | None = None,
    is_enqueued: bool = True,
    skips_known: bool = False,
) -> Job:
    """Stores a document and queues its ingestion, which starts once the transaction is committed.

    `file`: any object with `read`. `name`: the user's file name; default: the file's own name.
    `document_id`: the document of which it is a version; by default the one of the same name,
    unless the batch has another content of that name. `batch`: the id of a batch. `batch_name`,
    `owner`, `metadata`, `priority`: as in `queue_job`. `language`: a code of ISO 639, as `de`, of
    all its text; by default it is detected. `may_join`: says whether it may join a batch
    that exists. `visible`: the jobs that exist for the uploader; default: all.
    `is_enqueued=False`: the caller runs the job. `skips_known`: raises AlreadyIngested, with the
    job, if the same content is ingested already.

    Raises UnreadableDocument, DocumentNotStored, DocumentRefused, JobExists, InvalidJobId,
    InvalidBatch, BatchRefused, InvalidMetadata or TaskNotQueued; then no job is left, and a former
    document remains. Inside a transaction of the caller, its commit may raise TaskNotQueued.
    """
    cleaned = clean_name(name or getattr(file, "name", "") or "")
    key = clean_job_id(document_id) if document_id is not None else stable_id(cleaned)
    uploader = Uploader(owner=owner, visible=visible)
    if job_id is not None:
        clean_job_id(job_id)
    if batch is not None:
        clean_batch(batch)
    if language and not re.fullmatch(LANGUAGE, language):
        raise ValueError(f"{language} is not a code of ISO 639, as de.")
    queue = partial(
        queue_job,
        job_id=job_id,
        batch=batch,
        batch_name=batch_name,
        owner=owner,
        metadata=metadata,
        priority=priority,
    )

    def queue_in_batch(*args: Any, **options: Any) -> Job:
        if batch is not None and may_join is not None:
            join_batch(batch, name=batch_name, owner=owner, may_join=may_join)
        return queue(*args, **options)

    def identify(document: Document) -> None:
        choose_id(document, uploader, batch, is_given=document_id is not None)
        if skips_known:
            _raise_if_known(document, uploader)

    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as spool:
        document = Document(id=key, name=cleaned, language=language)
        _read(file, document, cast("IO[bytes]", spool))
        if skips_known:
            _raise_if_known(document, uploader)  # before the file is stored
        _save(document, cast("IO[bytes]", spool))
        return _store(document, identify, queue_in_batch, is_enqueued=is_enqueued)


def _raise_if_known(document: Document, uploader: Uploader) -> None:
    if (job := known_job(document, uploader)) is not None:
        raise AlreadyIngested(document.name, job)


def _read(file: Any, document: Document, spool: IO[bytes]) -> None:
    """Copies the file to the spool, and checks it."""
    name = document.name
    digest = hashlib.sha256()
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)
    for data in iter(partial(file.read, READ_BYTES), b""):
        document.size_bytes = (document.size_bytes or 0) + len(data)
        if document.size_bytes > conf.max_upload_bytes:
            limit = f"{conf.max_upload_bytes / 1024**2:.3g} MB"
            raise UploadTooLarge(
                Sentence(
                    "“%(name)s” is larger than %(limit)s, the limit for a document.",
                    name=name,
                    limit=limit,
                )
            )
        digest.update(data)
        with _storage_errors(name):
            spool.write(data)
    if not document.size_bytes:
        raise EmptyDocument(Sentence("“%(name)s” is empty.", name=name))
    document.media_type = media_type_of(cast("BinaryIO", spool), name).value
    document.sha256 = digest.hexdigest()


def _save(document: Document, spool: IO[bytes]) -> None:
    """Stores the file, or nothing: a storage may leave the part that it could write."""
    spool.seek(0)
    storage = document.file.storage
    path = document.file.field.generate_filename(document, document.name)  # a random name
    try:
        document.file = storage.save(path, File(spool))
    except BaseException as error:
        delete_file_quietly(storage, path)
        if isinstance(error, Exception):  # each storage has different errors
            raise _not_stored(document.name, error) from error
        raise


def _store(
    document: Document,
    identify: Callable[[Document], None],
    queue: Callable[..., Job],
    *,
    is_enqueued: bool,
) -> Job:
    using = router.db_for_write(Document)
    version = UploadedVersion(document)
    try:
        with transaction.atomic(using=using):
            identify(document)
            version.save()
            job = queue(
                document.name,
                document_id=document.pk,
                workers=conf.extraction_workers,
                task=conf.task,
                document_version=document.sha256,
            )
            if is_enqueued:
                queue_task_of(job, using, on_refusal=partial(_revert, job, version))
            # Does not run if the task could not be queued at the commit.
            transaction.on_commit(version.accept, using=using, robust=True)
    except BaseException:
        if not version.is_committed:
            # The rollback removes the row, but not the file.
            delete_file_quietly(document.file.storage, document.file.name or "")
        raise
    logger.info("document_received", extra={"job_id": job.pk, "document_id": document.pk})
    return job


@contextmanager
def _storage_errors(name: str) -> Iterator[None]:
    """Replaces an OSError, such as a full disk, by DocumentNotStored."""
    try:
        yield
    except OSError as error:
        raise _not_stored(name, error) from error


def _not_stored(name: str, error: Exception) -> DocumentNotStored:
    logger.error("document_not_stored", exc_info=error)
    is_known = isinstance(error, OSError)
    reason = reason_of(error) if is_known else Sentence("The storage of uploads failed.")
    return DocumentNotStored(
        Sentence("“%(name)s” could not be stored. %(reason)s", name=name, reason=reason)
    )


def _revert(job: Job, version: UploadedVersion) -> None:
    """Deletes the committed job and its version, which the task queue has refused."""
    delete_job(job.pk)
    version.revert()
