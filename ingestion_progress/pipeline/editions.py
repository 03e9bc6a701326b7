"""Editions: what each attempt has written of a document. Search shows the published one.

The attempt whose epoch is the document's `writer_epoch` is the only one that may write. Epochs are
random and are never used again, so any process can discard an edition that is neither published nor
to be continued, even if the process was stopped for hours.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import router, transaction
from django.db.models import F, QuerySet

from ingestion_progress.exceptions import DATABASE_UNAVAILABLE, JobSuperseded
from ingestion_progress.models import Job
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import DocumentBusy, VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document, Edition, Entity, Relation
from ingestion_progress.pipeline.stores import vector_store
from ingestion_progress.pipeline.stores.results import delete_results_of_ended_jobs
from ingestion_progress.tracker import JobTracker

logger = logging.getLogger("ingestion_progress.pipeline")


def claim(job: JobTracker, document: Document, version: str = "") -> list[str]:
    """Makes the attempt the document's only writer.

    Returns the epochs of the job's earlier editions of this version, which it may adopt. Raises
    DocumentBusy while another job that has a heartbeat ingests the document.
    """
    with _locked(document.pk) as rows:
        # Queried inside the row lock: the status of the last writer's job is committed.
        holder = rows.get().ingested_by
        others = Job.objects.running().exclude(pk=job.job_id).filter(pk=holder)
        if others.exclude(pk__in=Job.objects.silent().values("pk")).exists():
            raise DocumentBusy(document.name, holder)
        former = editions().filter(document=document, job_id=job.job_id, version=version)
        epochs = list(former.values_list("epoch", flat=True))
        rows.update(ingested_by=job.job_id, writer_epoch=job.epoch)
        mine = {"job_id": job.job_id, "version": version}
        editions().get_or_create(document=document, epoch=job.epoch, defaults=mine)
    return epochs


@contextmanager
def writing(document_id: str, job_id: str, epoch: str) -> Iterator[None]:
    """A transaction in which no other attempt can become the writer. Raises JobSuperseded."""
    with _locked(document_id) as rows:
        if not rows.filter(writer_epoch=epoch).exists():
            raise JobSuperseded(job_id)
        yield


def publish(job: JobTracker, document: Document) -> None:
    """Search shows this edition from now on; the others are discarded. Raises JobSuperseded."""
    _publish(document.pk, job.job_id, job.epoch)
    _discard_quietly(editions().filter(document=document).exclude(epoch=job.epoch))


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
        edition = mine.first()
        if edition is None or not edition.job_id:  # another attempt has adopted it
            _discard(edition or Edition(document_id=document_id, epoch=epoch))
        elif not Job.objects.active().filter(pk=job_id).exists():
            discard_abandoned(mine)
        delete_results_of_ended_jobs()


def discard_abandoned(found: QuerySet[Edition] | None = None) -> None:
    """Discards unpublished editions whose job has ended, or publishes them (KEEP_PARTIAL_RESULTS).

    A newer attempt of the job discards those before its own.
    """
    hidden = list(hidden_editions(found))
    ids = [edition.job_id for edition in hidden]
    active = set(Job.objects.active().filter(pk__in=ids).values_list("pk", flat=True))
    ended = [edition for edition in hidden if edition.job_id not in active]
    if conf.keep_partial_results:
        ended = [edition for edition in ended if not _is_published_now(edition)]
    _discard_quietly(ended)


def _is_published_now(edition: Edition) -> bool:
    """An edition without chunks does not replace the published one."""
    if not vector_store().count(edition.document_id, edition.epoch):
        return False
    try:
        _publish(edition.document_id, edition.job_id, edition.epoch)
    except JobSuperseded:
        return False
    return True


def _publish(document_id: str, job_id: str, epoch: str) -> None:
    with writing(document_id, job_id, epoch):
        documents = Document.objects.using(_using()).filter(pk=document_id)
        if not documents.get().published_epoch:  # what was written before there were editions
            editions().get_or_create(document_id=document_id, epoch="")
        earlier = editions().filter(document_id=document_id, job_id=job_id).exclude(epoch=epoch)
        earlier.update(job_id="")
        documents.update(published_epoch=epoch)


def editions() -> QuerySet[Edition]:
    return Edition.objects.using(_using())


def hidden_editions(found: QuerySet[Edition] | None = None) -> QuerySet[Edition]:
    """Those that search does not show."""
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
    except (VectorStoreUnavailable, *DATABASE_UNAVAILABLE):
        logger.warning("edition_not_discarded", exc_info=True)


def _discard(edition: Edition) -> None:
    with _locked(edition.document_id) as documents:
        document = documents.first()
        if document is not None:
            is_adopted_now = (
                edition.job_id == document.ingested_by and edition.epoch != document.writer_epoch
            )
            if is_adopted_now or edition.epoch == document.published_epoch:
                return
        # First, so that no attempt adopts an incomplete edition.
        editions().filter(pk=edition.pk).update(job_id="")
        for model in (Relation, Entity):
            rows: QuerySet[Any] = QuerySet(model, using=_using())
            rows.filter(document_id=edition.document_id, epoch=edition.epoch).delete()
    vector_store().discard(edition.document_id, edition.epoch)
    editions().filter(pk=edition.pk).delete()  # last, because it hides the rest


@contextmanager
def _locked(document_id: str) -> Iterator[QuerySet[Document]]:
    """The document, locked until the end of the block."""
    rows = Document.objects.using(_using()).filter(pk=document_id)
    with transaction.atomic(using=_using()):
        rows.select_for_update().first()
        yield rows


def _using() -> str:
    return router.db_for_write(Document)
