"""Which document an upload is: a new one, a newer version, or content that is ingested already.

By default the file name makes a document. Uploads of one batch with one name and different contents
are documents of their own, because none of them is a newer version of another one.
"""

from dataclasses import dataclass
from typing import Any

from ingestion_progress.models import Job
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.pipeline.documents.edition_writers import editions
from ingestion_progress.pipeline.documents.versions import SHA_LENGTH, is_of, pending_versions
from ingestion_progress.pipeline.exceptions import DocumentRefused
from ingestion_progress.pipeline.models import Document, PendingVersion
from ingestion_progress.pipeline.uploads.names import stable_id
from ingestion_progress.pipeline.uploads.uploaded_version import lock


@dataclass(frozen=True, kw_only=True)
class Uploader:
    """Who uploads, and what exists for them."""

    owner: Any = None
    visible: JobQuerySet | None = None
    """The jobs that exist for them; None: all."""

    def finds(self, jobs: JobQuerySet) -> JobQuerySet:
        return jobs if self.visible is None else jobs & self.visible

    def sees(self, document_id: str) -> bool:
        """Does the document exist for them, or for nobody?"""
        jobs = Job.objects.filter(document_id=document_id)
        return self.visible is None or self.finds(jobs).exists() or not jobs.exists()


def choose_id(document: Document, uploader: Uploader, batch: str | None, *, is_given: bool) -> None:
    """Gives the document of an upload another id if its name is that of another document.

    Runs in the transaction of the upload, and locks the document. `is_given`: the uploader has
    chosen the id. Raises DocumentRefused if it is that of a document that is hidden from them.
    """
    lock(document)
    if not uploader.sees(document.pk):
        if is_given:
            raise DocumentRefused
        if uploader.owner is not None:
            document.pk = stable_id(f"{document.name}\n{getattr(uploader.owner, 'pk', None)}")
            lock(document)
    if batch and not is_given and _has_other_content(document, batch):
        document.pk = stable_id(f"{document.pk}\n{document.sha256}")


def _has_other_content(document: Document, batch: str) -> bool:
    """Does the batch have a job for another content of the document?"""
    jobs = Job.objects.of_batch(batch).filter(document_id=document.pk)
    return jobs.exclude(document_version__startswith=document.sha256[:SHA_LENGTH]).exists()


def known_job(document: Document, uploader: Uploader) -> Job | None:
    """The job that ingests this content now, or has ingested what search shows.

    None if the upload is to be ingested: its content is new or was replaced by a newer one, it has
    another language, the job has failed or was deleted, or the stored file is gone.
    """
    stored = Document.objects.filter(pk=document.pk).first()
    if stored is None:
        return None
    of_document = uploader.finds(Job.objects.filter(document_id=document.pk))
    active = of_document.active().order_by("-created_at")
    for pending in pending_versions(document.pk).reverse():
        at_work = next((job for job in active if is_of(job.document_version, pending.sha256)), None)
        if at_work is not None:
            return at_work if _is_same(pending, document) else None
    if not (_is_same(stored, document) and stored.file.storage.exists(stored.file.name or "")):
        return None
    at_work = next((job for job in active if is_of(job.document_version, stored.sha256)), None)
    published = editions().filter(document=stored, epoch=stored.published_epoch)
    ids = published.values_list("job_id", flat=True)
    return at_work or of_document.filter(pk__in=list(ids), status="succeeded").first()


def _is_same(stored: Document | PendingVersion, uploaded: Document) -> bool:
    has_language = uploaded.language in ("", stored.language)
    return stored.sha256 == uploaded.sha256 and has_language
