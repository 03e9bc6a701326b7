"""Records of batches, and the limit of their jobs that run at the same time."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import F
from django.db.models.functions import Now

from ingestion_progress.exceptions import BatchExists, BatchNotFound, BatchRefused
from ingestion_progress.models import Batch, Job, clean_batch, new_job_id, rows_by
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.tracker.database import (
    jobs,
    progress_alias,
    progress_transaction,
    rows,
    unlocked,
)
from ingestion_progress.tracker.owners import Owner
from ingestion_progress.tracker.plan import JobPlan, checked_count, clean_text
from ingestion_progress.tracker.sql import notify_on_commit

# Limits of one rescue pass; the next one continues.
MAX_BATCHES = 1000
MAX_STARTED = 500


def create_batch(
    name: str = "",
    *,
    batch_id: str | None = None,
    owner: object = None,
    max_running: int = 0,
) -> Batch:
    """A batch, whose id is passed as `batch` to `track`, `queue_job` and uploads.

    - `max_running`: how many of its queued jobs run at the same time; 0 for no limit.

    Raises BatchExists, InvalidBatch, InvalidCount or ValueError.
    """
    user = Owner.of(owner)
    batch = Batch(
        id=new_job_id() if batch_id is None else clean_batch(batch_id),
        name=clean_text(name, MAX_NAME_LENGTH),
        owner_id=user.id,
        owner_name=user.name,
        max_running=checked_count("max_running", max_running),
        created_at=database_now(),
    )
    with progress_transaction():
        if Batch.find(batch.pk, using=progress_alias()) is not None:
            raise BatchExists(batch.pk)
        batch.save(using=progress_alias(), force_insert=True)
    return batch


def change_batch(
    batch_id: str, *, name: str | None = None, max_running: int | None = None
) -> Batch:
    """Changes what is given. A higher limit starts waiting jobs with the next rescue pass.

    Raises BatchNotFound or InvalidCount.
    """
    with progress_transaction():
        batch = Batch.find(batch_id, using=progress_alias())
        if batch is None:
            raise BatchNotFound(batch_id)
        if name is not None:
            batch.name = clean_text(name, MAX_NAME_LENGTH)
        if max_running is not None:
            batch.max_running = checked_count("max_running", max_running)
        given = {"name": name, "max_running": max_running}
        changes = {key: getattr(batch, key) for key, value in given.items() if value is not None}
        rows(Batch).bulk_create([batch], ignore_conflicts=True)  # only jobs may name it so far
        if changes:  # of these columns alone: another request may be changing the others
            rows(Batch).filter(pk=batch.pk).update(**changes)
    return batch


def ensure_batch(plan: JobPlan) -> None:
    """Stores the record of a new job's batch, unless it exists."""
    if plan.batch:
        owner, now = plan.owner, database_now()
        batch = Batch(
            id=plan.batch,
            name=plan.batch_name,
            owner_id=owner.id,
            owner_name=owner.name,
            created_at=now,
        )
        rows(Batch).bulk_create([batch], ignore_conflicts=True)


def join_batch(batch_id: str, *, name: str, owner: object, may_join: Callable[[str], bool]) -> None:
    """Creates the record of a batch for its first job, or asks `may_join` if there is one already.

    To be called in the transaction that creates the job: of two first jobs at the same time, the
    second one waits until the first is committed. Raises BatchRefused.
    """
    user = Owner.of(owner)
    defaults = {
        "name": clean_text(name, MAX_NAME_LENGTH),
        "owner_id": user.id,
        "owner_name": user.name,
        "created_at": database_now(),
    }
    with progress_transaction():
        if not may_join(batch_id):  # a batch of an older version may have no record
            raise BatchRefused
        _, is_new = rows(Batch).get_or_create(pk=batch_id, defaults=defaults)
        if not is_new and not may_join(batch_id):
            raise BatchRefused


def wait_if_full(job: Job, plan: JobPlan) -> bool:
    """Has a locked, queued job wait if enough jobs of its batch run. Not without a stored task,
    because nothing would start it later.
    """
    task = plan.task or job.task
    if not (job.batch and task):
        return False
    # Most batches have no limit: read without a QuerySet, while no other process writes to SQLite.
    found = rows_by(Batch, "pk", [job.batch], using=progress_alias())
    if not any(batch.max_running for batch in found):
        return False
    # Locked, so that two jobs do not take the last place. Every writer locks its job first.
    batch = rows(Batch).select_for_update().filter(pk=job.batch, max_running__gt=0).first()
    if batch is None or jobs().running().of_batch(job.batch).count() < batch.max_running:
        return False
    job.task, job.waits_for_batch, job.retry_at = task, True, None
    job.updated_at = max(database_now(), job.created_at)
    job.revision += 1
    job.save(using=progress_alias())
    notify_on_commit(job.pk)
    return True


def start_waiting_jobs() -> int:
    """`start_waiting` for all batches with waiting jobs."""
    waiting = jobs().waiting_for_batch().order_by().values_list("batch", flat=True).distinct()
    return sum(start_waiting(batch_id) for batch_id in waiting[:MAX_BATCHES])


def start_waiting(batch_id: str) -> int:
    """Has the oldest waiting jobs queued that may run now; returns how many. None if another
    process has locked the batch: the next rescue pass looks again.
    """
    with progress_transaction():
        record = rows(Batch).filter(pk=batch_id)
        batch = unlocked(record).first()
        if batch is None and record.exists():
            return 0
        most = MAX_STARTED
        if batch is not None and batch.max_running:
            running = jobs().running().of_batch(batch_id).count()
            most = min(most, max(0, batch.max_running - running))
        waiting = jobs().waiting_for_batch().of_batch(batch_id).order_by("created_at", "pk")
        chosen = list(waiting.values_list("pk", flat=True)[:most])
        for job_id in chosen:
            notify_on_commit(job_id)
        return (
            jobs()
            .waiting_for_batch()
            .filter(pk__in=chosen)
            .update(
                waits_for_batch=False,
                retry_at=Now(),
                queued_at=Now(),
                updated_at=Now(),
                revision=F("revision") + 1,
            )
        )
