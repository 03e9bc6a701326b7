"""Stages: the parts of a job, in order."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from ingestion_progress.models.jobs import Job
from ingestion_progress.models.statuses import StageStatus

MAX_STAGE_NAME_LENGTH = 64


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
    in_flight = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0, help_text="Items recorded as failed.")
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
