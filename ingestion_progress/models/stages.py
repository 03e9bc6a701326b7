"""Stages: the parts of a job, in order, and how far they are."""

from __future__ import annotations

import math
from collections.abc import Iterable

from django.db import models
from django.db.models import Q

from ingestion_progress.models.jobs import Job
from ingestion_progress.models.statuses import ShownStageStatus, StageStatus

MAX_STAGE_NAME_LENGTH = 64
# Tenths of a percent: more than the rounding error of a mean, less than one item of a billion.
FLOAT_ERROR = 1e-9
# Only a job that has succeeded is at 100, even if the counts of another are complete.
MAX_PERCENT_BEFORE_SUCCESS = 99.9


class Stage(models.Model):
    """A named, ordered, weighted part of a job, with its own counts.

    `processed` may exceed a `total` that another process is about to grow, so no constraint
    compares the two; readers get corrected values.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="stages")
    name = models.CharField(max_length=MAX_STAGE_NAME_LENGTH)
    position = models.PositiveSmallIntegerField()
    weight = models.FloatField(help_text="Share of the whole, relative to the other stages.")
    status = models.CharField(
        max_length=16, choices=StageStatus.choices, default=StageStatus.PENDING
    )
    processed = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0, help_text="0 while unknown.")
    inherited_total = models.PositiveBigIntegerField(
        default=0,
        db_default=0,
        help_text="Part of the total that the former attempt found and this one not yet.",
    )
    total_is_estimate = models.BooleanField(default=False, db_default=False)
    in_flight = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0, help_text="Items recorded as failed.")
    item_ages = models.FloatField(
        default=0,
        db_default=0,
        help_text="Sum of the ages of the stage, in seconds, at which its items were counted.",
    )
    paused_seconds = models.FloatField(
        default=0, db_default=0, help_text="Time without items, after some were counted."
    )
    was_interrupted = models.BooleanField(
        default=False,
        db_default=False,
        help_text="It ended with its job, and not by an error of its own.",
    )
    unit = models.CharField(max_length=32, blank=True, help_text="What is counted, in plural.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["job", "position"]
        constraints = [
            models.UniqueConstraint(fields=["job", "name"], name="ingestion_stage_name_once"),
            models.UniqueConstraint(
                fields=["job", "position"], name="ingestion_stage_position_once"
            ),
            models.CheckConstraint(
                name="ingestion_stage_status_known", condition=Q(status__in=StageStatus.values)
            ),
            models.CheckConstraint(
                name="ingestion_stage_weight_positive", condition=Q(weight__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.processed}/{self.total or '?'} {self.unit}".rstrip()

    @property
    def stage_status(self) -> StageStatus:
        return StageStatus(self.status)

    @property
    def is_skipped(self) -> bool:
        return self.stage_status is StageStatus.SKIPPED

    @property
    def is_estimated(self) -> bool:
        """Is its total only about right?"""
        return self.total_is_estimate and not self.stage_status.is_ending

    @property
    def is_stopped(self) -> bool:
        """Did it end with its job, and not by an error of its own?"""
        return self.was_interrupted and self.stage_status is StageStatus.ERROR

    def shown_status(self, *, is_over: bool) -> ShownStageStatus:
        """`is_over`: its job has ended."""
        status = self.stage_status
        if self.is_stopped:
            return ShownStageStatus.STOPPED
        if is_over and status is StageStatus.PENDING:
            return ShownStageStatus.NOT_RUN
        return ShownStageStatus(status.value)

    @property
    def percent(self) -> float:
        return stage_percent(
            processed=self.processed,
            total=self.total,
            is_completed=self.stage_status is StageStatus.COMPLETED,
        )


def stage_percent(*, processed: int, total: int, is_completed: bool) -> float:
    """0 to 100. A completed stage is at 100; one whose total is unknown (0) is at 0."""
    if is_completed:
        return 100.0
    # Multiplied first: as floats, 29 / 100 * 100 is below 29.
    return min(100.0, processed * 100 / total) if total else 0.0


def overall_percent(stages: Iterable[tuple[float, float]]) -> float:
    """The weighted mean of (weight, percent) pairs: 0 to 100, in full precision; 0 without any."""
    weights = done = 0.0
    for weight, percent in stages:
        weights += weight
        done += weight * percent
    return min(100.0, done / weights) if weights else 0.0


def plan_percent(stages: Iterable[Stage]) -> float:
    """The overall percentage of a job by the counts of its planned stages."""
    planned = (each for each in stages if not each.is_skipped)
    return overall_percent((each.weight, each.percent) for each in planned)


def shown_percent(percent: float) -> float:
    """One decimal, rounded down: only finished work shows 100."""
    if percent >= 100:
        return 100.0
    return percent_before_success(percent)


def percent_before_success(percent: float) -> float:
    """The same of a job that has not succeeded, or of jobs of which one has not."""
    return min(MAX_PERCENT_BEFORE_SUCCESS, math.floor(percent * 10 + FLOAT_ERROR) / 10)
