"""Changes of locked jobs: applied to their rows in memory, and written in a fixed number of
statements, however many jobs and changes there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from operator import attrgetter

from ingestion_progress.conf import conf
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models import Checkpoint, Job, JobError, JobEvent, Stage, Worker
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.events import MAX_MESSAGE_LENGTH
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.models.stages import MAX_STAGE_NAME_LENGTH, plan_percent
from ingestion_progress.models.statuses import EventLevel, JobStatus, StageStatus
from ingestion_progress.tracker.changes import (
    Counter,
    EventEntry,
    JobChanges,
    KeyChanges,
    StageChanges,
)
from ingestion_progress.tracker.checkpoints import merge_keys
from ingestion_progress.tracker.database import insert, rows_of, rows_of_jobs, upsert
from ingestion_progress.tracker.error_groups import changed_groups, upsert_errors
from ingestion_progress.tracker.forecasts import StageClocks, update_forecast
from ingestion_progress.tracker.keys import MAX_KEY_RANGES, MAX_TEXT_KEYS
from ingestion_progress.tracker.plan import clean_text
from ingestion_progress.tracker.samples import SampleWrites
from ingestion_progress.wire.forecast import History

REMEMBERED = {"texts": f"{MAX_TEXT_KEYS:,}", "ranges": f"{MAX_KEY_RANGES:,}"}
KEYS_FORGOTTEN = StoredSentence(
    "More keys than are remembered (%(texts)s texts, %(ranges)s ranges of integers): the items of "
    "further keys count, and the next attempt does them again.",
    **REMEMBERED,
)
JOB_COLUMNS = (
    *("revision", "updated_at", "heartbeat_at", "reached_percent", "counters"),
    *("event_count", "error_count", "failed_items", "cancel_acknowledged_at"),
    *("status", "error", "finished_at"),
    *("likely_end_at", "earliest_end_at", "latest_end_at", "is_forecast_by_weights"),
    *("total_chunks", "total_images", "pool_size", "queue_depth", "waiting_for"),
    *("entities_total", "relations_total", "neo4j_writes", "qdrant_writes"),
)
STAGE_COLUMNS = (
    *("processed", "total", "total_is_estimate", "inherited_total", "in_flight", "failed", "unit"),
    *("status", "was_interrupted", "started_at", "finished_at", "item_ages", "paused_seconds"),
)
CHECKPOINT_COLUMNS = ("ranges", "keys", "failed")
WORKER_COLUMNS = ("status", "current_chunk", "progress_percent")


def event_of(job: Job, entry: EventEntry) -> JobEvent:
    return JobEvent(
        job=job,
        attempt=job.attempt,
        at=entry.at,
        level=entry.level,
        stage=clean_text(entry.stage, MAX_STAGE_NAME_LENGTH),
        item=clean_text(entry.item, 255),
        message=clean_text(entry.message, MAX_MESSAGE_LENGTH),
    )


class JobWrites:
    """Requires that the caller has locked the jobs, so no other process writes their rows."""

    def __init__(self, locked: Sequence[Job]) -> None:
        self._ids = [job.pk for job in locked]
        self._jobs: dict[str, Job] = {}
        self._stages: dict[int, Stage] = {}
        self._workers: dict[tuple[str, int], Worker] = {}
        self._events: list[JobEvent] = []
        self._errors: dict[tuple[str, str], JobError] = {}
        self._changed_checkpoints: dict[tuple[str, str], Checkpoint] = {}
        self._samples = SampleWrites()
        self._stages_of: defaultdict[str, list[Stage]] = defaultdict(list)
        for stage in sorted(rows_of_jobs(Stage, self._ids), key=attrgetter("position")):
            self._stages_of[stage.job_id].append(stage)

    @cached_property
    def _stored_errors(self) -> dict[str, list[JobError]]:
        stored = defaultdict(list)
        for group in rows_of_jobs(JobError, self._ids):
            stored[group.job_id].append(group)
        return stored

    @cached_property
    def _checkpoints(self) -> dict[tuple[str, str], Checkpoint]:
        stored = rows_of_jobs(Checkpoint, self._ids)
        return {(each.job_id, each.stage): each for each in stored}

    def apply(
        self, job: Job, changes: JobChanges, history: History, *, is_last: bool = False
    ) -> Sequence[Stage]:
        """Returns the stages of the job after them, in order. `is_last`: the attempt ends.

        After the end of the job only lines of the log are written, which no stream shows.
        """
        self._log(job, changes)
        stages = self._stages_of[job.pk]
        if job.is_finished:
            return stages
        self._jobs[job.pk] = job
        clocks = StageClocks(job, stages, database_now())
        for stage in stages:
            if found := changes.stages.get(stage.name):
                self._stages[stage.pk] = stage
                _apply_to_stage(stage, found)
                if found.keys:
                    self._merge_keys(job, stage, found.keys)
        for number, change in changes.workers.items():
            self._workers[job.pk, number] = Worker(job=job, number=number, **vars(change))
        if errors := changes.errors.values():
            for group in changed_groups(job, self._stored_errors[job.pk], errors):
                self._errors[job.pk, group.digest] = group
        self._stages |= {stage.pk: stage for stage in clocks.update()}
        before = job.updated_at
        _apply_to_job(job, stages, changes, clocks.now)
        if clocks.have_counted:
            update_forecast(job, stages, history, before=before)
        self._samples.add(job, stages, before=before, is_last=is_last)
        return stages

    def end(self, job: Job, status: JobStatus, error: str, entry: EventEntry) -> Sequence[Stage]:
        """Ends the job and its open stages at the time of the entry, which is logged even if the
        log is full. Returns the stages.
        """
        self._jobs[job.pk] = job
        _end_job(job, status, error, entry.at)
        for stage in self._stages_of[job.pk]:
            if _has_closed(stage, entry.at, has_succeeded=status.has_succeeded):
                self._stages[stage.pk] = stage
        self._events.append(event_of(job, entry))
        return self._stages_of[job.pk]

    def save(self) -> None:
        workers = [worker for _, worker in sorted(self._workers.items())]
        checkpoints = self._changed_checkpoints.values()
        upsert(Checkpoint, checkpoints, by=["job", "stage"], columns=CHECKPOINT_COLUMNS)
        upsert(Stage, self._stages.values(), by=["id"], columns=STAGE_COLUMNS)
        upsert(Worker, workers, by=["job", "number"], columns=WORKER_COLUMNS)
        upsert_errors(self._errors.values())
        insert(self._events)
        self._samples.save()
        upsert(Job, self._jobs.values(), by=["id"], columns=JOB_COLUMNS)

    def _log(self, job: Job, changes: JobChanges) -> None:
        if count := len(changes.events) + changes.dropped_events:
            room = max(0, conf.max_events_per_job - job.event_count)
            self._events += [event_of(job, entry) for entry in changes.events[:room]]
            self._jobs[job.pk] = job
            job.event_count += count

    def _merge_keys(self, job: Job, stage: Stage, changes: KeyChanges) -> None:
        """Remembers the reported keys, and counts those that are new."""
        at = (job.pk, stage.name)
        checkpoint = self._checkpoints.setdefault(at, Checkpoint(job=job, stage=stage.name))
        counts = merge_keys(checkpoint, changes)
        stage.processed += counts.new
        stage.failed += counts.failed
        if counts.new:
            self._changed_checkpoints[at] = checkpoint
        if counts.forgotten and not _has_warned(job, stage):
            warning = EventEntry(
                at=database_now(),
                level=EventLevel.WARNING,
                message=KEYS_FORGOTTEN,
                stage=stage.name,
            )
            self._events.append(event_of(job, warning))
            job.event_count += 1


def _has_warned(job: Job, stage: Stage) -> bool:
    return rows_of(JobEvent, job, stage=stage.name, message=KEYS_FORGOTTEN).exists()


def _apply_to_stage(stage: Stage, changes: StageChanges) -> None:
    changes.counters.apply_to(stage)
    _apply_inherited_total(stage, changes.counters.get("total", Counter()))
    if changes.total_is_estimate is not None:
        stage.total_is_estimate = changes.total_is_estimate
    stage.unit = changes.unit or stage.unit
    # Another process may have written a later status since, which stays.
    if changes.status is None or stage.stage_status not in changes.status.predecessors:
        return
    stage.status, stage.was_interrupted = changes.status, changes.was_interrupted
    stage.started_at = stage.started_at or changes.started_at
    stage.finished_at = changes.finished_at if changes.status.is_ending else None
    if changes.status.is_ending:
        stage.in_flight = 0


def _apply_inherited_total(stage: Stage, total: Counter) -> None:
    """`grow` first repeats the items that the total of the earlier attempt contains already."""
    if total.base is not None:
        stage.inherited_total = 0
    found_again = min(stage.inherited_total, max(0, total.delta))
    stage.total -= found_again
    stage.inherited_total -= found_again


def _apply_to_job(job: Job, stages: Sequence[Stage], changes: JobChanges, now: datetime) -> None:
    changes.counters.apply_to(job)
    job.counters = job.counters | {
        name: counter.applied_to(job.counters.get(name, 0))
        for name, counter in changes.own_counters.items()
    }
    job.failed_items = sum(stage.failed for stage in stages)
    if changes.waiting_for is not None:
        job.waiting_for = clean_text(changes.waiting_for, MAX_NAME_LENGTH)
    if not job.former_jobs:  # otherwise the forecast moves it
        job.reached_percent = max(job.reached_percent, plan_percent(stages))
    if job.cancel_requested_at is not None:
        job.cancel_acknowledged_at = job.cancel_acknowledged_at or now
    job.heartbeat_at = job.updated_at = now
    job.revision += 1


def _end_job(job: Job, status: JobStatus, error: str, now: datetime) -> None:
    job.status, job.error = status, clean_text(error, MAX_MESSAGE_LENGTH)
    job.finished_at = job.updated_at = now
    job.queue_depth = 0
    job.revision += 1
    job.event_count += 1
    if status.has_succeeded:
        job.reached_percent = 100.0


def _has_closed(stage: Stage, now: datetime, *, has_succeeded: bool) -> bool:
    """Success completes a running stage and skips one that has not started; any other end
    interrupts it. Returns whether that changes the stage.
    """
    before = stage.status, stage.in_flight
    if stage.stage_status is StageStatus.IN_PROGRESS:
        stage.status = StageStatus.COMPLETED if has_succeeded else StageStatus.ERROR
        stage.was_interrupted, stage.finished_at = not has_succeeded, now
    elif has_succeeded and stage.stage_status is StageStatus.PENDING:
        stage.status = StageStatus.SKIPPED
    stage.in_flight = 0
    return before != (stage.status, stage.in_flight)
