"""Errors of a job, grouped: one row for all that differ in their items and numbers only."""

from __future__ import annotations

from django.db import models

from ingestion_progress.models.cascades import CascadingForeignKey
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.models.jobs import Job
from ingestion_progress.models.stages import MAX_STAGE_NAME_LENGTH

MAX_KIND_LENGTH = 64
MAX_PATTERN_LENGTH = 500
MAX_EXAMPLES = 5


class JobErrorQuerySet(models.QuerySet["JobError"]):
    def open(self) -> JobErrorQuerySet:
        """Groups that are not resolved."""
        return self.filter(resolved_at__isnull=True)


class JobError(models.Model):
    """A group of errors of one stage. The number of groups per job is limited."""

    job = CascadingForeignKey(Job, on_delete=models.CASCADE, related_name="errors")
    digest = models.CharField(max_length=32, help_text="Of stage, kind and message.")
    stage = models.CharField(
        max_length=MAX_STAGE_NAME_LENGTH, blank=True, help_text="Empty: the job itself failed."
    )
    kind = models.CharField(max_length=MAX_KIND_LENGTH, blank=True)
    message = models.CharField(
        max_length=MAX_PATTERN_LENGTH, help_text="Without what varies, such as numbers."
    )
    count = models.PositiveIntegerField(default=0)
    attempt = models.PositiveIntegerField(help_text="The latest attempt in which it occurred.")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    examples = models.JSONField(
        default=list, help_text="The first items: a list of {item, message, attempt}."
    )
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(
        max_length=MAX_NAME_LENGTH, blank=True, default="", db_default=""
    )

    objects = JobErrorQuerySet.as_manager()

    class Meta:
        ordering = ["job", "-count", "id"]
        constraints = [
            models.UniqueConstraint(fields=["job", "digest"], name="ingestion_error_once")
        ]

    def __str__(self) -> str:
        return f"{self.stage or 'job'}: {self.message} ({self.count} ×)"

    def follow(self, later: JobError) -> None:
        """Adds later errors of this group, which are not resolved."""
        self.count += later.count
        self.first_at = min(self.first_at, later.first_at)
        self.last_at = max(self.last_at, later.last_at)
        self.attempt = later.attempt or self.attempt
        new = [example for example in later.examples if example not in self.examples]
        self.examples = [*self.examples, *new][:MAX_EXAMPLES]
        self.resolved_at, self.resolved_by = None, ""
