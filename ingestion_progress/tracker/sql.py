"""Writes the changes, the end and the heartbeats of attempts, each in one short transaction.

Every writer of a job locks its row first (SQLite: begins IMMEDIATE). So writers of one job wait
for each other, cannot deadlock, and their sums are exact.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Case, F, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Greatest

from ingestion_progress import wakeups
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.models import Job, JobEvent, Stage, Worker
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.events import MAX_MESSAGE_LENGTH
from ingestion_progress.models.stages import MAX_STAGE_NAME_LENGTH, plan_percent
from ingestion_progress.models.statuses import EventLevel, JobStatus
from ingestion_progress.tracker.changes import (
    Counter,
    Counters,
    EventEntry,
    JobChanges,
    StageChanges,
)
from ingestion_progress.tracker.checkpoints import merge_keys
from ingestion_progress.tracker.database import (
    jobs,
    locked_job,
    progress_alias,
    progress_connection,
    progress_transaction,
    rows,
    rows_of,
)
from ingestion_progress.tracker.error_groups import write_errors
from ingestion_progress.tracker.keys import MAX_KEY_RANGES, MAX_TEXT_KEYS
from ingestion_progress.tracker.plan import Attempt, clean_text

KEYS_FORGOTTEN = (
    f"More keys than are remembered ({MAX_TEXT_KEYS:,} texts, {MAX_KEY_RANGES:,} ranges of "
    "integers): the items of the others count, and are done again by another attempt."
)


@dataclass(frozen=True, kw_only=True)
class WriteResult:
    """The state of the job after a write."""

    status: JobStatus
    is_cancel_requested: bool
    stages: Sequence[Stage]

    @classmethod
    def of(cls, job: Job, stages: Sequence[Stage]) -> WriteResult:
        is_requested = job.cancel_requested_at is not None
        return cls(status=job.job_status, is_cancel_requested=is_requested, stages=stages)


def notify_on_commit(job_id: str, *, is_end: bool = False) -> None:
    """In a transaction that writes the job: wakes the feeds after the COMMIT."""

    def publish() -> None:  # no partial: Django logs the name of a callback that fails
        wakeups.publish(job_id, is_end=is_end)

    transaction.on_commit(publish, using=progress_alias(), robust=True)


def write_changes(attempt: Attempt, changes: JobChanges) -> WriteResult:
    """Adds `changes` to the rows. Raises JobSuperseded if a newer attempt exists."""
    with progress_transaction():
        job = locked_attempt(attempt)
        return WriteResult.of(job, write_locked(job, changes))


def renew_heartbeats(attempts: Collection[Attempt]) -> dict[tuple[str, str], WriteResult]:
    """Returns the states by job id and epoch. Superseded attempts are left out."""
    known = jobs().filter(
        pk__in={attempt.job_id for attempt in attempts},
        epoch__in={attempt.epoch for attempt in attempts},
    )
    now = database_now()
    is_asked = When(cancel_requested_at__isnull=False, then=Value(now))
    acknowledged_at = Coalesce(F("cancel_acknowledged_at"), Case(is_asked))
    skips = progress_connection().features.has_select_for_update_skip_locked
    with progress_transaction():
        # A row that another connection holds would delay the heartbeats of all.
        free = known.running().select_for_update(skip_locked=skips).values("pk")
        known.filter(pk__in=free).update(heartbeat_at=now, cancel_acknowledged_at=acknowledged_at)
    return {
        (job.pk, job.epoch): WriteResult.of(job, ())
        for job in known.only("pk", "epoch", "status", "cancel_requested_at")
    }


def write_milestone(job: Job, message: str, level: EventLevel = EventLevel.INFO) -> None:
    """Logs the start or the end of a job, even if its log is full."""
    write_milestones([job], message, level)


def write_milestones(
    logged: Sequence[Job], message: str, level: EventLevel = EventLevel.INFO
) -> None:
    """The same entry in the logs of several jobs, in two statements."""
    entry = EventEntry(at=database_now(), level=level, message=message)
    rows(JobEvent).bulk_create(_event(job, entry) for job in logged)
    jobs().filter(pk__in=[job.pk for job in logged]).update(event_count=F("event_count") + 1)


def _append(job: Job, events: Sequence[EventEntry], *, count: int) -> None:
    """Adds events to the job's log, which counts more if some are not stored."""
    rows(JobEvent).bulk_create(_event(job, each) for each in events)
    jobs().filter(pk=job.pk).update(event_count=F("event_count") + count)


def _event(job: Job, entry: EventEntry) -> JobEvent:
    return JobEvent(
        job=job,
        attempt=job.attempt,
        at=entry.at,
        level=entry.level,
        stage=clean_text(entry.stage, MAX_STAGE_NAME_LENGTH),
        item=clean_text(entry.item, 255),
        message=clean_text(entry.message, MAX_MESSAGE_LENGTH),
    )


def locked_attempt(attempt: Attempt) -> Job:
    job = locked_job(pk=attempt.job_id, epoch=attempt.epoch)
    if job is None:
        raise JobSuperseded(attempt.job_id)
    return job


def stages_of(job: Job) -> list[Stage]:
    return list(rows_of(Stage, job).order_by("position"))


def write_locked(job: Job, changes: JobChanges) -> Sequence[Stage]:
    """Applies changes to a locked job. Returns its stages after them, in order.

    After the end of the job only lines of the log are written, which no stream shows.
    """
    if count := len(changes.events) + changes.dropped_events:
        room = max(0, conf.max_events_per_job - job.event_count)
        _append(job, changes.events[:room], count=count)
    if job.is_finished:
        return stages_of(job)
    notify_on_commit(job.pk)
    now = database_now()
    for name, stage_changes in changes.stages.items():
        _write_stage(job, name, stage_changes)
    if changes.workers:
        _write_workers(job, changes)
    if changes.errors:
        write_errors(job, changes.errors.values())
    stages = stages_of(job)
    updates: dict[str, Any] = changes.counters.expressions()
    if changes.own_counters:
        updates["counters"] = job.counters | {
            name: counter.applied_to(job.counters.get(name, 0))
            for name, counter in changes.own_counters.items()
        }
    if job.cancel_requested_at is not None:
        updates["cancel_acknowledged_at"] = job.cancel_acknowledged_at or now
    job.failed_items = sum(stage.failed for stage in stages)
    jobs().filter(pk=job.pk).update(
        revision=F("revision") + 1,
        updated_at=now,
        heartbeat_at=now,
        failed_items=job.failed_items,
        reached_percent=max(job.reached_percent, plan_percent(stages)),
        **updates,
    )
    return stages


def _write_stage(job: Job, name: str, changes: StageChanges) -> None:
    stage = rows_of(Stage, job, name=name)
    counters = _with_keys(job, name, changes) if changes.keys else changes.counters
    updates: dict[str, Any] = counters.expressions() | _total_expressions(counters["total"])
    if changes.unit:
        updates["unit"] = changes.unit
    if updates:
        stage.update(**updates)
    if changes.status is None:
        return
    status: dict[str, Any] = {"status": changes.status}
    if changes.started_at:
        status["started_at"] = Coalesce(F("started_at"), Value(changes.started_at))
    if changes.status.is_ending:
        status |= {"finished_at": changes.finished_at, "in_flight": 0}
    else:
        status["finished_at"] = None
    # Another process may have written a later status since, which stays.
    stage.filter(status__in=changes.status.predecessors).update(**status)


def _total_expressions(total: Counter) -> dict[str, int | Combinable]:
    """What this attempt finds step by step is at first what the former one has found already."""
    if total.base is not None:
        return {"inherited_total": 0}
    if not total.delta:
        return {}
    inherited = F("inherited_total")
    return {
        "total": F("total") + Greatest(Value(0), Value(total.delta) - inherited),
        "inherited_total": Greatest(Value(0), inherited - total.delta),
    }


def _with_keys(job: Job, name: str, changes: StageChanges) -> Counters:
    """Remembers the reported keys; the counters of the stage with those that are new."""
    counts = merge_keys(job, name, changes.keys)
    if counts.forgotten and not rows_of(JobEvent, job, stage=name, message=KEYS_FORGOTTEN).exists():
        warning = EventEntry(
            at=database_now(), level=EventLevel.WARNING, message=KEYS_FORGOTTEN, stage=name
        )
        _append(job, [warning], count=1)
    return changes.counters.plus(processed=counts.new, failed=counts.failed)


def _write_workers(job: Job, changes: JobChanges) -> None:
    rows(Worker).bulk_create(
        [
            Worker(job=job, number=number, **vars(change))
            for number, change in sorted(changes.workers.items())
        ],
        update_conflicts=True,
        unique_fields=["job", "number"],
        update_fields=["status", "current_chunk", "progress_percent"],
    )
