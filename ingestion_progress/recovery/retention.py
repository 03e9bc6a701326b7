"""Deletes old jobs that have ended, with all that is stored of them, in small transactions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from ingestion_progress import extensions
from ingestion_progress.conf import conf
from ingestion_progress.models import Batch, Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.recovery.tasks import delete_task_results
from ingestion_progress.tracker.database import jobs, progress_transaction, rows, unlocked

logger = logging.getLogger("ingestion_progress.recovery")

# Jobs per transaction: SQLite's other writers wait for it.
CHUNK = 200
PRUNE_EVERY_SECONDS = 3600.0


def prunable_jobs(
    *, older_than: timedelta = timedelta(0), statuses: Collection[str] = (), keep: int = 0
) -> JobQuerySet:
    """Jobs that ended longer ago, as `statuses` if given, except for the newest `keep` of them."""
    ended = jobs().finished()
    if statuses:
        ended = ended.filter(status__in=statuses)
    found = ended.filter(finished_at__lt=database_now() - older_than)
    if not keep:
        return found
    newest = ended.order_by("-finished_at").values_list("finished_at", flat=True)
    last_kept = newest[keep - 1 : keep].first()
    return found.none() if last_kept is None else found.filter(finished_at__lt=last_kept)


def prune_jobs(found: JobQuerySet, *, with_documents: bool = False) -> Iterator[int]:
    """Deletes the jobs, the oldest first; yields the number of each transaction.

    With log, stages, workers, attempts, checkpoints, samples and errors, and with the results of
    their tasks. `with_documents`: also with documents to which no other job refers, and what was
    made of them. A job that somebody else has locked stays. May be stopped at any time.
    """
    while deleted := _prune_chunk(found, with_documents=with_documents):
        yield deleted


def _prune_chunk(found: JobQuerySet, *, with_documents: bool = False) -> int:
    oldest = found.order_by("finished_at", "pk")
    if with_documents:
        _delete_documents(list(oldest.only("document_id")[:CHUNK]))
    with progress_transaction():
        locked = unlocked(oldest).values_list("pk", flat=True)
        if not (job_ids := list(locked[:CHUNK])):
            return 0
        delete_task_results(job_ids)
        # Django deletes the rows of the other tables by one statement each, without reading them.
        jobs().filter(pk__in=job_ids).delete()
    return len(job_ids)


def _delete_empty_batches(created_before: datetime) -> None:
    of_batch = jobs().filter(batch=OuterRef("pk")).exclude(batch="")
    rows(Batch).filter(~Exists(of_batch), created_at__lt=created_before).delete()


def _delete_documents(pruned: list[Job]) -> None:
    """Before the jobs: if this process is killed in between, they are found again."""
    job_ids = {job.pk for job in pruned}
    for document_id in sorted({job.document_id for job in pruned}):
        for delete in extensions.document_deleters():
            delete(document_id, job_ids)


class Pruner:
    """Applies KEEP_JOBS_DAYS once an hour: one transaction per call until nothing is left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_at = clock()

    def prune(self) -> int:
        """Returns how many jobs it has deleted. Raises database errors."""
        if not conf.keep_jobs_days or self._clock() < self._due_at:
            return 0
        deleted = _prune_chunk(prunable_jobs(older_than=timedelta(days=conf.keep_jobs_days)))
        if deleted < CHUNK:
            _delete_empty_batches(database_now() - timedelta(days=conf.keep_jobs_days))
            self._due_at = self._clock() + PRUNE_EVERY_SECONDS
        if deleted:
            logger.info("jobs_pruned", extra={"jobs": deleted})
        return deleted


pruner = Pruner()
