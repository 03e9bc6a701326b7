"""Batches: jobs that belong together, with a name, an owner and a limit."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from ingestion_progress.models.fields import text_field
from ingestion_progress.models.ids import MAX_NAME_LENGTH, new_job_id
from ingestion_progress.models.jobs import Job


class Batch(models.Model):
    """The record of a batch. `Job.batch` has its id as text: processes of an older version create
    jobs of a batch that has no record, which then counts as one without a name, owner or limit.
    """

    id = models.CharField(primary_key=True, max_length=MAX_NAME_LENGTH, default=new_job_id)
    name = text_field("Shown instead of the id; may be changed.")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        related_name="+",
    )
    owner_name = text_field("User name of the owner when the batch was created.")
    max_running = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Jobs that may run at the same time; 0: no limit."
    )
    created_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)

    class Meta:
        ordering = ["-created_at", "id"]
        verbose_name_plural = "batches"
        indexes = [models.Index(fields=["-created_at", "id"], name="ingestion_batch_newest")]
        constraints = [
            models.CheckConstraint(name="ingestion_batch_id_not_empty", condition=~Q(id=""))
        ]

    def __str__(self) -> str:
        return self.name or self.pk

    @classmethod
    def find(cls, batch_id: str, *, using: str | None = None) -> Self | None:
        """The record, or an unsaved one if only jobs name the batch; None without both."""
        if stored := cls.objects.using(using).filter(pk=batch_id).first():
            return stored
        jobs = Job.objects.using(using).of_batch(batch_id)
        first = jobs.order_by("created_at").values_list("created_at", flat=True).first()
        return None if first is None else cls(id=batch_id, created_at=first)
