"""Samples: how the counts of an attempt grew over its time."""

from __future__ import annotations

from django.db import models

from ingestion_progress.models.jobs import Job

MAX_SAMPLES = 200


class JobSamples(models.Model):
    """The samples of one attempt, at most MAX_SAMPLES, whatever its length.

    Each is a list: milliseconds since the start of the attempt, overall percentage, then one list
    of processed items and one of totals, by stage.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="samples")
    attempt = models.PositiveIntegerField()
    stages = models.JSONField(default=list, help_text="Names of the stages, in order.")
    samples = models.JSONField(default=list)

    class Meta:
        ordering = ["job", "attempt"]
        verbose_name_plural = "job samples"
        constraints = [
            models.UniqueConstraint(fields=["job", "attempt"], name="ingestion_samples_once")
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt}: {len(self.samples)} samples"
