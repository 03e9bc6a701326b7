"""Workers: the slots of a job's worker pool."""

from django.db import models
from django.db.models import Q

from ingestion_progress.models.jobs import Job
from ingestion_progress.models.statuses import WorkerStatus


class Worker(models.Model):
    """One slot of a job's worker pool, with what it is working on."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="workers")
    number = models.PositiveIntegerField()
    status = models.CharField(
        max_length=16, choices=WorkerStatus.choices, default=WorkerStatus.IDLE
    )
    current_chunk = models.CharField(max_length=255, blank=True)
    progress_percent = models.FloatField(default=0)

    class Meta:
        ordering = ["job", "number"]
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="ingestion_worker_once"),
            models.CheckConstraint(
                name="ingestion_worker_status_known", condition=Q(status__in=WorkerStatus.values)
            ),
            models.CheckConstraint(
                name="ingestion_worker_percent_range",
                condition=Q(progress_percent__gte=0, progress_percent__lte=100),
            ),
        ]

    def __str__(self) -> str:
        return f"worker {self.number}: {self.status} {self.current_chunk}".rstrip()
