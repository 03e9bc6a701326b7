"""Editions: what each attempt has written of a document. Search shows the published one.

Several jobs may ingest versions of one document at the same time, each into its own edition, which
only the newest attempt of the job may write. The newest complete version is published: an older one
that is complete later is discarded. Epochs are random and are never used again, so any process can
discard an edition that is neither published nor to be continued, even if the process was stopped
for hours.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from ingestion_progress.exceptions import DATABASE_UNAVAILABLE, JobCancelled, JobSuperseded
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models import Job, insert_rows, rows_by
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.documents.edition_writers import (
    editions,
    editions_of,
    locked,
    refusal,
    using,
    writing,
)
from ingestion_progress.pipeline.documents.versions import NEWER_VERSION, has_version, make_current
from ingestion_progress.pipeline.exceptions import GraphStoreUnavailable, VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document, Edition
from ingestion_progress.pipeline.stores import graph_store, vector_store
from ingestion_progress.pipeline.stores.results import (
    delete_results,
    delete_results_of_ended_jobs,
)
from ingestion_progress.tracker import JobTracker
from ingestion_progress.tracker.cancellations import request_cancellations

logger = logging.getLogger("ingestion_progress.pipeline")


def claim(job: JobTracker, document: Document, version: str = "") -> list[str]:
    """Makes the attempt the only writer of its job's edition.

    Returns the epochs of the job's earlier editions of this version, which it may adopt. Raises
    JobCancelled if the document is deleted meanwhile.
    """
    with locked(document.pk):
        if not _stored(document.pk):
            raise refusal(job.job_id, job.epoch)
        former = editions_of(document.pk, job_id=job.job_id)
        if former:
            of_job = editions().filter(document=document, job_id=job.job_id)
            of_job.exclude(epoch=job.epoch).update(is_writable=False)
        mine = Edition(
            document=document, epoch=job.epoch, job_id=job.job_id, version=version, is_writable=True
        )
        insert_rows([mine], using=using(), by=["document", "epoch"])
    return [edition.epoch for edition in former if edition.version == version]


def publish(job: JobTracker, document: Document) -> None:
    """Search shows this edition from now on, and older ones are discarded.

    Raises JobSuperseded, or JobCancelled if a newer version of the document is published.
    """
    if not _publish(document.pk, job.job_id, job.epoch):
        superseded = StoredSentence(
            "Cancelled by a newer version of the document, which search shows."
        )
        job.log(superseded, level="warning")
        raise JobCancelled(job.job_id)
    others = [each for each in editions_of(document.pk) if each.epoch != job.epoch]
    _discard_quietly(_not_continued(others, by=job.job_id))
    cancel_superseded(document.pk)


def cancel_superseded(document_id: str) -> None:
    """Asks the jobs to stop that ingest a version older than the published one."""
    is_active = {"status": sorted(JobStatus.active())}
    for document in _stored(document_id):
        active = rows_by(Job, "document_id", [document_id], also=is_active)
        superseded = [job.pk for job in active if not has_version(document, job.document_version)]
        if superseded:
            request_cancellations(superseded, by=NEWER_VERSION)


def adopted(epochs: list[str]) -> None:
    """Discards earlier editions of the job, whose content this attempt has copied."""
    found = editions().filter(epoch__in=epochs)
    found.update(version="")  # so that no attempt adopts it again
    hidden_editions(found).update(job_id="")
    _discard_quietly(hidden_editions(found))


def settle(document_id: str, job_id: str, epoch: str) -> None:
    """Discards what an attempt has written, unless it is published or another one continues it."""
    mine = editions().filter(document_id=document_id, epoch=epoch)
    with _left_for_later():
        if _is_published(document_id, epoch):
            return
        edition = mine.first()
        if edition is None or not edition.job_id:  # another attempt has adopted it
            _discard(edition or Edition(document_id=document_id, epoch=epoch))
        elif not Job.objects.active().filter(pk=job_id).exists():
            discard_abandoned(mine)
        delete_results_of_ended_jobs()


def _is_published(document_id: str, epoch: str) -> bool:
    return any(document.published_epoch == epoch for document in _stored(document_id))


def _stored(document_id: str) -> list[Document]:
    """The document, or nothing if it is deleted."""
    return rows_by(Document, "pk", [document_id], using=using())


def discard_abandoned(found: QuerySet[Edition] | None = None) -> None:
    """Discards unpublished editions whose job has ended, or publishes them (KEEP_PARTIAL_RESULTS).

    A newer attempt of the job discards those before its own.
    """
    ended = _not_continued(hidden_editions(found))
    if conf.keep_partial_results:
        ended = [edition for edition in ended if not _is_published_now(edition)]
    _discard_quietly(ended)


def _not_continued(found: Iterable[Edition], by: str = "") -> list[Edition]:
    """The editions whose job has ended, or has the id `by`."""
    each = list(found)
    ids = {edition.job_id for edition in each} - {by}
    active = set(Job.objects.active().filter(pk__in=ids).values_list("pk", flat=True))
    return [edition for edition in each if edition.job_id not in active]


def _is_published_now(edition: Edition) -> bool:
    """An edition without chunks does not replace the published one."""
    if not vector_store().count(edition.document_id, edition.epoch):
        return False
    try:
        return _publish(edition.document_id, edition.job_id, edition.epoch)
    except JobSuperseded:
        return False


def _is_older_than_editions(document_id: str) -> bool:
    """Does search show something of it that was written before there were editions?"""
    if not _is_published(document_id, ""):
        return False
    rows = graph_store().count(document_id, "")
    return bool(rows.entities or vector_store().count(document_id, ""))


def _publish(document_id: str, job_id: str, epoch: str) -> bool:
    """False if a newer version is published."""
    is_older = _is_older_than_editions(document_id)
    with writing(document_id, job_id, epoch):
        (document,) = _stored(document_id)
        all_of_document = {edition.epoch: edition for edition in editions_of(document_id)}
        changes = make_current(document, all_of_document[epoch].version)
        if changes is None:
            return False
        if is_older:
            editions().get_or_create(document_id=document_id, epoch="")
        if len(all_of_document) > 1:
            earlier = editions().filter(document_id=document_id).exclude(epoch=epoch)
            of_former = Q(epoch=document.published_epoch, is_writable=True)
            earlier.filter(Q(job_id=job_id) | of_former).update(job_id="")
        Document.objects.using(using()).filter(pk=document_id).update(
            published_epoch=epoch, updated_at=timezone.now(), **changes
        )
        delete_results(job_id)  # nothing is left to do that needs them
    return True


def discard_quietly(document_id: str, epoch: str) -> bool:
    """Deletes the content of an edition without a row; returns whether that succeeded."""
    with _left_for_later():
        graph_store().discard(document_id, epoch)
        vector_store().discard(document_id, epoch)
        return True
    return False


def hidden_editions(found: QuerySet[Edition] | None = None) -> QuerySet[Edition]:
    """The editions that search does not show."""
    return (editions() if found is None else found).exclude(epoch=F("document__published_epoch"))


def _discard_quietly(found: Iterable[Edition]) -> None:
    """An edition that cannot be discarded now stays hidden, and a worker discards it later."""
    for edition in found:
        with _left_for_later():
            _discard(edition)


@contextmanager
def _left_for_later() -> Iterator[None]:
    try:
        yield
    except (VectorStoreUnavailable, GraphStoreUnavailable, *DATABASE_UNAVAILABLE):
        logger.warning("edition_not_discarded", exc_info=True)


def _discard(edition: Edition) -> None:
    document_id, epoch = edition.document_id, edition.epoch
    with locked(document_id) as documents:
        document = documents.first()
        if document is not None and (document.published_epoch == epoch or _is_adopted_now(edition)):
            return
        # First, so that no attempt adopts or writes an incomplete edition.
        editions().filter(pk=edition.pk).update(job_id="")
    graph_store().discard(document_id, epoch)
    vector_store().discard(document_id, epoch)
    editions().filter(pk=edition.pk).delete()  # last, because it hides the rest


def _is_adopted_now(edition: Edition) -> bool:
    """Has a newer attempt of the job claimed it, and not yet copied what is in it?"""
    of_job = editions().filter(document_id=edition.document_id, job_id=edition.job_id or None)
    is_claimed = of_job.filter(epoch=edition.epoch, is_writable=False).exists()
    return is_claimed and of_job.filter(is_writable=True).exists()
