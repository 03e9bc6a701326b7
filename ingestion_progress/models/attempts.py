"""Attempts: how each run of a job ended, and which items the next attempt need not repeat."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from ingestion_progress.models.cascades import CascadingForeignKey
from ingestion_progress.models.fields import text_field
from ingestion_progress.models.jobs import Job
from ingestion_progress.models.spans import stage_span
from ingestion_progress.models.stages import MAX_STAGE_NAME_LENGTH, Stage
from ingestion_progress.models.statuses import AttemptStatus, ShownStageStatus, StageStatus

# The first, and the newest others. A job that is queued again and again has more attempts.
MAX_KEPT_ATTEMPTS = 100


class StageRecord(TypedDict):
    """What a stage did in an attempt that has ended."""

    name: str
    status: str
    """A ShownStageStatus."""
    span_ms: list[int] | None
    """Start and end, in milliseconds since the start of the attempt; None if it has not run."""
    processed: int
    total: int
    failed: int
    unit: str


class JobAttempt(models.Model):
    """An attempt that has ended. The current attempt has no row: its data are in the job's.

    A job keeps MAX_KEPT_ATTEMPTS. Its number of attempts is `Job.attempt`, not that of the rows.
    """

    job = CascadingForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField(help_text="From 1.")
    epoch = models.CharField(max_length=16)
    status = models.CharField(max_length=16, choices=AttemptStatus.choices)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField()
    failed_items = models.PositiveIntegerField(default=0, db_default=0)
    started_by = text_field("User who started it; empty if it began automatically.")
    cancelled_by = text_field("User who asked it to stop; empty if nobody did, or without a login.")
    error = models.TextField(blank=True, help_text="Why it ended without success.")
    stages = models.JSONField(
        null=True,
        help_text="A StageRecord of each; null if an older version ended it.",
    )

    class Meta:
        ordering = ["job", "number"]
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="ingestion_attempt_once"),
            models.CheckConstraint(
                name="ingestion_attempt_status_known", condition=Q(status__in=AttemptStatus.values)
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.status}"


def stage_record(job: Job, stage: Stage, ended_at: datetime) -> StageRecord:
    """The record of a stage of an attempt that ends now; a running stage is interrupted."""
    span = stage_span(job, stage, ended_at)
    status = stage.shown_status(is_over=True)
    if stage.stage_status is StageStatus.IN_PROGRESS:
        status = ShownStageStatus.STOPPED
    return {
        "name": stage.name,
        "status": status.value,
        "span_ms": [span.start_ms, span.end_ms] if span else None,
        "processed": stage.processed,
        "total": stage.total,
        "failed": stage.failed,
        "unit": stage.unit,
    }


class Checkpoint(models.Model):
    """The keys of a stage's items that count as processed, for the current document version."""

    job = CascadingForeignKey(Job, on_delete=models.CASCADE, related_name="checkpoints")
    stage = models.CharField(max_length=MAX_STAGE_NAME_LENGTH)
    ranges = models.JSONField(
        default=list, help_text="Integer keys that are done: sorted pairs of first and last."
    )
    keys = models.JSONField(default=list, help_text="Text keys that are done.")
    failed = models.JSONField(
        default=list, help_text="Keys that failed in this attempt; the next one tries them again."
    )

    class Meta:
        ordering = ["job", "stage"]
        constraints = [
            models.UniqueConstraint(fields=["job", "stage"], name="ingestion_checkpoint_once")
        ]

    def __str__(self) -> str:
        return f"{self.stage}: {self.done_count}"

    @property
    def done_count(self) -> int:
        ranges: int = sum(last - first + 1 for first, last in self.ranges)
        return ranges + len(self.keys)


class RescueWatch(models.Model):
    """One row: since when heartbeats are watched without a gap. Its update elects a process."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    watching_since = models.DateTimeField(default=timezone.now, db_default=Now())
    last_pass_at = models.DateTimeField(default=timezone.now, db_default=Now())

    class Meta:
        constraints = [models.CheckConstraint(name="ingestion_rescue_one_row", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"since {self.watching_since:%Y-%m-%d %H:%M:%S}"
