"""The versions of a document: the one that search shows, and newer ones that are not complete.

A job ingests the version that its `document_version` names by the hash of its content. Publishing
a version makes its file that of the document and deletes all older ones. So a job whose version is
gone is superseded: a newer version was complete before it.
"""

import logging
from collections.abc import Collection
from functools import partial
from operator import attrgetter

from django.core.files.storage import Storage
from django.db import router, transaction
from django.db.models import QuerySet

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models import Job, rows_by
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.pipeline.models import Document, PendingVersion

logger = logging.getLogger("ingestion_progress.pipeline")

# `Job.document_version` has 64 characters: the beginning of the hash, and perhaps an epoch.
SHA_LENGTH = 48
FIELDS = ("name", "file", "media_type", "size_bytes", "sha256", "language")
NEWER_VERSION = StoredSentence("a newer version of the document")
"""Who cancels a superseded job, for its log and its page."""


def pending_versions(document_id: str) -> QuerySet[PendingVersion]:
    """The oldest first, on the primary."""
    versions = PendingVersion.objects.using(router.db_for_write(PendingVersion))
    return versions.filter(document_id=document_id)


def is_of(version: str, sha256: str) -> bool:
    """Does a job's `document_version` name the content with this hash?"""
    return bool(version) and sha256.startswith(version[:SHA_LENGTH])


def pending_version(document_id: str, version: str) -> PendingVersion | None:
    """The newest with the content that a job's `document_version` names."""
    stored = rows_by(
        PendingVersion, "document", [document_id], using=router.db_for_write(PendingVersion)
    )
    found = [each for each in stored if is_of(version, each.sha256)]
    return max(found, key=attrgetter("pk"), default=None)


def has_version(document: Document, version: str) -> bool:
    """False: a newer version has replaced it."""
    return is_current(document, version) or pending_version(document.pk, version) is not None


def is_current(document: Document, version: str) -> bool:
    """A job that names no version ingests the current one."""
    return not version or is_of(version, document.sha256)


def document_of(job: Job) -> Document | None:
    """The job's document with the file of the version that the job ingests.

    None if there is no such document, or a newer version has replaced that of the job.
    """
    document = next(iter(rows_by(Document, "pk", [job.document_id])), None)
    if document is None:
        return None
    pending = pending_version(document.pk, job.document_version)
    if not (pending or is_current(document, job.document_version)):
        return None
    for name in FIELDS if pending else ():
        setattr(document, name, getattr(pending, name))
    return document


def jobs_of_version(document_id: str, sha256: str) -> JobQuerySet:
    return Job.objects.filter(
        document_id=document_id, document_version__startswith=sha256[:SHA_LENGTH]
    )


def make_current(document: Document, version: str) -> dict[str, object] | None:
    """What publishing a version changes in the document's row, which the caller has locked.

    None if a newer version was published. Deletes older versions, with their files after the
    commit.
    """
    pending = pending_version(document.pk, version)
    if pending is None:
        return {} if is_current(document, version) else None
    older = pending_versions(document.pk).filter(pk__lte=pending.pk)
    files = {document.file.name, *older.values_list("file", flat=True)} - {pending.file.name}
    older.delete()
    delete_files_on_commit(document.file.storage, files)
    return {name: getattr(pending, name) for name in FIELDS}


def drop_ended(document_id: str, before: int) -> None:
    """Deletes versions older than the pending one with this key that no job is to ingest."""
    with transaction.atomic(using=router.db_for_write(PendingVersion)):
        Document.objects.using(router.db_for_write(Document)).select_for_update().filter(
            pk=document_id
        ).first()
        for each in pending_versions(document_id).filter(pk__lt=before):
            jobs = Job.objects.using(router.db_for_write(Job)).active()
            versions = jobs.filter(document_id=document_id).values_list("document_version")
            if not any(is_of(version, each.sha256) for (version,) in versions):
                each.delete()
                delete_files_on_commit(each.file.storage, {each.file.name})


def delete_files_on_commit(storage: Storage, names: Collection[str | None]) -> None:
    for name in filter(None, names):
        delete = partial(delete_file_quietly, storage, name)
        transaction.on_commit(delete, using=router.db_for_write(Document), robust=True)


def delete_file_quietly(storage: Storage, name: str) -> None:
    """Logs a failure: `manage.py orphaned_uploads` finds the file."""
    try:
        storage.delete(name)
    except Exception:
        logger.exception("upload_left_behind", extra={"path": name})
