"""What people do with whole batches, and waiting jobs that may start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ingestion_progress.exceptions import (
    DATABASE_UNAVAILABLE,
    BatchActive,
    IngestionProgressError,
)
from ingestion_progress.models import Batch, Job, rows_by
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.recovery.rescue import queue_due_tasks
from ingestion_progress.recovery.retention import prune_jobs
from ingestion_progress.recovery.retries import RetryScope, retry_jobs
from ingestion_progress.tracker.batches import start_waiting
from ingestion_progress.tracker.cancellations import request_cancellations
from ingestion_progress.tracker.database import jobs, progress_alias, progress_transaction, rows

# One call covers this many jobs; the next call covers the rest.
MAX_JOBS = 10_000
# A request deletes batches for this long.
DELETE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What came of an action on the jobs of a batch."""

    changed: int = 0
    refused: Mapping[str, IngestionProgressError] = field(default_factory=dict)
    """Why other jobs were not changed, by id."""


@dataclass(frozen=True, kw_only=True)
class BatchDeletion:
    deleted: int
    """Number of jobs that were deleted."""
    left: int
    """Number of jobs that were not; 0: the batch is deleted as well."""


def cancel_batch(found: JobQuerySet, *, by: str = "") -> BatchResult:
    """Cancels those of the jobs that are queued or running. `by` names who asks."""
    return _on_each(found.active(), lambda job_ids: request_cancellations(job_ids, by=by))


def retry_batch(
    found: JobQuerySet, *, only: RetryScope | str = RetryScope.ALL, by: str = ""
) -> BatchResult:
    """Retries those of the jobs that failed or were lost; with `only` failed, also the failed items
    of those that succeeded.
    """
    again = found.filter(status__in=[JobStatus.FAILED, JobStatus.LOST])
    if only == RetryScope.FAILED:
        again |= found.filter(status=JobStatus.SUCCEEDED, failed_items__gt=0)
    return _on_each(again, lambda job_ids: retry_jobs(job_ids, only=only, by=by))


def delete_batch(
    batch_id: str, *, seconds: float = math.inf, clock: Callable[[], float] = time.monotonic
) -> BatchDeletion:
    """Deletes the jobs of a batch in small transactions, and then the batch. It stops after
    `seconds`, and the next call continues. Raises BatchActive before all jobs have ended.
    """
    of_batch = jobs().of_batch(batch_id)
    if of_batch.active().exists():
        raise BatchActive(batch_id)
    deleted, ends_at = 0, clock() + seconds
    for number in prune_jobs(of_batch.finished()):
        deleted += number
        if clock() >= ends_at:
            break
    with progress_transaction():
        left = of_batch.count()
        if left and of_batch.active().exists():  # started or added meanwhile
            raise BatchActive(batch_id)
        if not left:
            rows(Batch).filter(pk=batch_id).delete()
    return BatchDeletion(deleted=deleted, left=left)


def continue_batch(job_id: str) -> None:
    """After the task of a job: queues waiting jobs of its batch. If the database is down, a later
    rescue pass does it.
    """
    try:
        for job in rows_by(Job, "pk", [job_id], using=progress_alias()):
            if job.batch and jobs().waiting_for_batch().of_batch(job.batch).exists():
                start_waiting(job.batch)
                queue_due_tasks()
    except DATABASE_UNAVAILABLE:
        return


def _on_each(
    chosen: JobQuerySet, act: Callable[[Sequence[str]], Mapping[str, IngestionProgressError]]
) -> BatchResult:
    job_ids = list(chosen.order_by("created_at", "pk").values_list("pk", flat=True)[:MAX_JOBS])
    refused = act(job_ids)
    return BatchResult(changed=len(job_ids) - len(refused), refused=refused)
