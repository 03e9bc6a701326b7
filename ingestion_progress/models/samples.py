"""Samples: how the counts of an attempt grew over its time."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from ingestion_progress.models.cascades import CascadingForeignKey
from ingestion_progress.models.jobs import Job

MAX_SAMPLES = 200
# When a further attempt of a job begins, the samples of its oldest attempt are deleted.
MAX_SAMPLED_ATTEMPTS = 20


class JobSamples(models.Model):
    """The samples of one attempt, at most MAX_SAMPLES, and what its forecast used and was worth.

    Each is a list: milliseconds since the start of the attempt, overall percentage, one list of
    processed items and one of totals, by stage, the remaining milliseconds that were forecast
    (likely, low, high), or null, busy workers, and items in the queue. The last two are missing in
    samples of older versions.
    """

    job = CascadingForeignKey(Job, on_delete=models.CASCADE, related_name="samples")
    attempt = models.PositiveIntegerField()
    stages = models.JSONField(default=list, help_text="Names of the stages, in order.")
    samples = models.JSONField(default=list)
    plan = models.CharField(
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="Digest of task and stages: attempts with the same one are comparable.",
    )
    history = models.JSONField(
        null=True, help_text="What earlier jobs said at the start; it does not change."
    )
    times = models.JSONField(
        null=True, help_text="Of an attempt that succeeded: what each stage did, and how long."
    )
    scores = models.JSONField(
        null=True,
        help_text="Of an attempt that succeeded: at 10, 25, 50 and 75 % of its time the true "
        "remaining time, and what was forecast.",
    )
    error = models.FloatField(
        null=True, help_text="Mean square of the errors of its forecasts, in standard deviations."
    )
    succeeded_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["job", "attempt"]
        verbose_name_plural = "job samples"
        constraints = [
            models.UniqueConstraint(fields=["job", "attempt"], name="ingestion_samples_once")
        ]
        indexes = [
            models.Index(
                fields=["plan", "-succeeded_at"],
                name="ingestion_samples_history",
                condition=Q(succeeded_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt}: {len(self.samples)} samples"
