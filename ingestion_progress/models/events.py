"""Events: the log of a job."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from ingestion_progress.models.jobs import Job
from ingestion_progress.models.statuses import EventLevel

MAX_MESSAGE_LENGTH = 2000


class JobEvent(models.Model):
    """One line of a job's log: what happened, when, and to which stage or item."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    attempt = models.PositiveIntegerField()
    at = models.DateTimeField(default=timezone.now)
    level = models.CharField(max_length=8, choices=EventLevel.choices, default=EventLevel.INFO)
    stage = models.CharField(max_length=64, blank=True)
    item = models.CharField(max_length=255, blank=True, help_text="The page or chunk concerned.")
    message = models.CharField(max_length=MAX_MESSAGE_LENGTH)

    class Meta:
        ordering = ["job", "id"]
        indexes = [models.Index(fields=["job", "level"], name="ingestion_event_level")]
        constraints = [
            models.CheckConstraint(
                name="ingestion_event_level_known", condition=Q(level__in=EventLevel.values)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.level}: {self.message}"
