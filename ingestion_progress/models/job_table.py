"""The indexes and constraints of the table of jobs."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from ingestion_progress.models.statuses import JobStatus

# The order in which a task queue with priorities starts queued jobs.
START_ORDER = (F("priority").desc(), Coalesce("queued_at", "created_at"), F("id"))

INDEXES = [
    models.Index(fields=["-created_at", "id"], name="ingestion_job_newest"),
    # With the id, so that a page after a cursor is one range of it, in order.
    models.Index(fields=["status", "-created_at", "id"], name="ingestion_job_status_newest"),
    models.Index(fields=["document_id"], name="ingestion_job_document"),
    models.Index(
        fields=["batch", "-created_at"], name="ingestion_job_batch", condition=~Q(batch="")
    ),
    models.Index(
        fields=["batch", "status", "-created_at", "id"],
        name="ingestion_job_batch_status",
        condition=~Q(batch=""),
    ),
    models.Index(
        fields=["owner", "-created_at"],
        name="ingestion_job_owner",
        condition=Q(owner__isnull=False),
    ),
    models.Index(
        fields=["owner", "status", "-created_at", "id"],
        name="ingestion_job_owner_status",
        condition=Q(owner__isnull=False),
    ),
    models.Index(
        fields=["about_model", "about_id", "-created_at"],
        name="ingestion_job_about",
        condition=~Q(about_model=""),
    ),
    models.Index(
        fields=["finished_at"],
        name="ingestion_job_ended",
        condition=Q(finished_at__isnull=False),
    ),
    models.Index(
        fields=["status", "finished_at"],
        name="ingestion_job_ended_status",
        condition=Q(finished_at__isnull=False),
    ),
    models.Index(
        fields=["batch", "created_at"],
        name="ingestion_job_waits_for_batch",
        condition=Q(waits_for_batch=True),
    ),
    models.Index(
        fields=["retry_at"], name="ingestion_job_due", condition=Q(retry_at__isnull=False)
    ),
    models.Index(
        fields=["status", "-created_at"],
        name="ingestion_job_failed_items",
        condition=Q(failed_items__gt=0),
    ),
    models.Index(
        fields=["owner", "-created_at"],
        name="ingestion_job_owner_partial",
        condition=Q(owner__isnull=False, failed_items__gt=0, status=JobStatus.SUCCEEDED),
    ),
    models.Index(
        fields=["owner", "-created_at"],
        name="ingestion_job_owner_in_batch",
        condition=Q(owner__isnull=False) & ~Q(batch=""),
    ),
    models.Index(
        *START_ORDER,
        name="ingestion_job_in_line",
        condition=Q(status=JobStatus.QUEUED, waits_for_batch=False, retry_at=None),
    ),
]

CONSTRAINTS: list[models.BaseConstraint] = [
    models.CheckConstraint(
        name="ingestion_job_status_known", condition=Q(status__in=JobStatus.values)
    ),
    models.CheckConstraint(name="ingestion_job_id_not_empty", condition=~Q(id="")),
    models.CheckConstraint(
        name="ingestion_job_reached_percent_range",
        condition=Q(reached_percent__gte=0, reached_percent__lte=100),
    ),
    models.CheckConstraint(
        name="ingestion_job_final_has_finished_at",
        condition=Q(status__in=sorted(JobStatus.final()), finished_at__isnull=False)
        | (~Q(status__in=sorted(JobStatus.final())) & Q(finished_at__isnull=True)),
    ),
    models.CheckConstraint(
        name="ingestion_job_ends_after_start",
        condition=Q(started_at__isnull=True)
        | Q(finished_at__isnull=True)
        | Q(finished_at__gte=F("started_at")),
    ),
]
