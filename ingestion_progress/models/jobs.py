"""Jobs: one row per ingestion run of a document."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ingestion_progress.conf import conf
from ingestion_progress.models.about import About
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.fields import text_field
from ingestion_progress.models.forecasts import JobForecast
from ingestion_progress.models.ids import MAX_NAME_LENGTH, new_epoch, new_job_id
from ingestion_progress.models.job_table import CONSTRAINTS, INDEXES
from ingestion_progress.models.statuses import JobResult, JobStatus, Liveness

# A job is silent after this share of LOST_AFTER_SECONDS without a heartbeat.
SILENT_SHARE = 0.75


class JobQuerySet(models.QuerySet["Job"]):
    def queued(self) -> JobQuerySet:
        return self.filter(status=JobStatus.QUEUED)

    def waiting_for_batch(self) -> JobQuerySet:
        """Queued jobs that start when fewer jobs of their batch run."""
        return self.queued().filter(waits_for_batch=True)

    def running(self) -> JobQuerySet:
        return self.filter(status=JobStatus.RUNNING)

    def active(self) -> JobQuerySet:
        """Jobs that are queued or running."""
        # `exclude(final)` could use no index.
        return self.filter(status__in=sorted(JobStatus.active()))

    def of_batch(self, batch: str) -> JobQuerySet:
        """Jobs of the batch with this id."""
        return self.filter(batch=batch).exclude(batch="")

    def owned_by(self, user: Any) -> JobQuerySet:
        """Jobs of this user, given as an object or a primary key. None owns none."""
        owner_id = getattr(user, "pk", user)
        return self.none() if owner_id is None else self.filter(owner_id=owner_id)

    def about(self, instance: object) -> JobQuerySet:
        """Jobs about this saved instance of a model."""
        return self.filter(About.of(instance).condition)

    def finished(self) -> JobQuerySet:
        """Jobs that have ended in any way."""
        return self.filter(status__in=JobStatus.final())

    def with_result(self, *results: str) -> JobQuerySet:
        """Jobs that have ended in one of these ways (`JobResult`)."""
        has_succeeded = Q(status=JobStatus.SUCCEEDED)
        found = Q(status__in=set(results) - {JobResult.SUCCEEDED, JobResult.PARTIAL})
        if JobResult.SUCCEEDED in results:
            found |= has_succeeded & Q(failed_items=0)
        if JobResult.PARTIAL in results:
            found |= has_succeeded & Q(failed_items__gt=0)
        return self.filter(found)

    def stalled(self) -> JobQuerySet:
        """Running jobs with a heartbeat that have not changed for too long and wait for nothing."""
        now = database_now()
        return self.running().filter(
            heartbeat_at__gte=now - timedelta(seconds=conf.lost_after_seconds * SILENT_SHARE),
            updated_at__lte=now - timedelta(seconds=conf.stalled_after_seconds),
            waiting_for="",
        )

    def without_heartbeat(self) -> JobQuerySet:
        """Running jobs without a heartbeat for too long."""
        now = database_now()
        return self.running().filter(
            heartbeat_at__lte=now - timedelta(seconds=conf.lost_after_seconds)
        )


class Job(JobForecast):
    """One ingestion run of one document. Written by the tracker only."""

    id = models.CharField(primary_key=True, max_length=MAX_NAME_LENGTH, default=new_job_id)
    document_id = models.CharField(max_length=MAX_NAME_LENGTH, blank=True)
    document_name = models.CharField(max_length=MAX_NAME_LENGTH, blank=True)
    batch = text_field("Id of the batch; empty for a single job.")
    # The user's table may be in another database: no constraint, no join, no cascade.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    owner_name = text_field("User name of the owner when the job was created.")
    metadata = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="The project's own data about the job: a small object.",
    )
    about_model = text_field("Model of the object that the job is about, such as shop.order.")
    about_id = text_field("Primary key of that object.")
    task = text_field(
        "Dotted path of the task that runs the job. Empty: no next attempt is automatic."
    )
    priority = models.SmallIntegerField(
        default=0,
        db_default=0,
        help_text="-100 to 100: jobs with a higher one are run first, if the task queue can.",
    )
    document_version = text_field(
        "Changes with the content: checkpoints of another version do not count.", max_length=64
    )
    status = models.CharField(max_length=16, choices=JobStatus.choices, default=JobStatus.QUEUED)
    attempt = models.PositiveIntegerField(
        default=1, help_text="One try at the job; starting it again is the next one."
    )
    epoch = models.CharField(
        max_length=16,
        default=new_epoch,
        help_text="Names the attempt; a writer of another epoch is refused.",
    )
    revision = models.PositiveBigIntegerField(default=0, help_text="One more on each write.")
    failed_attempts = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="Attempts in a row that were lost or failed. A person's retry starts from 0.",
    )
    started_by = text_field("User who started this attempt; empty if it began automatically.")
    writer = text_field("Host and process id of the process that runs the attempt.")

    total_chunks = models.PositiveIntegerField(default=0)
    total_images = models.PositiveIntegerField(default=0)
    entities_total = models.PositiveBigIntegerField(default=0)
    relations_total = models.PositiveBigIntegerField(default=0)
    neo4j_writes = models.PositiveBigIntegerField(default=0)
    qdrant_writes = models.PositiveBigIntegerField(default=0)
    counters = models.JSONField(
        default=dict, blank=True, help_text="The pipeline's own counters: name to integer."
    )

    pool_size = models.PositiveIntegerField(default=0)
    queue_depth = models.PositiveIntegerField(default=0)
    reached_percent = models.FloatField(
        default=0,
        help_text="The highest overall percentage so far: what is shown never falls below it.",
    )
    event_count = models.PositiveIntegerField(default=0)
    error_count = models.PositiveIntegerField(default=0)
    failed_items = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Items of all stages that failed in this attempt."
    )

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(
        null=True, blank=True, help_text="When a writer last proved that it lives."
    )
    updated_at = models.DateTimeField(
        default=timezone.now, help_text="When the revision last moved."
    )
    queued_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was queued again; empty for the first attempt."
    )
    waits_for_batch = models.BooleanField(
        default=False,
        db_default=False,
        help_text="It waits until fewer jobs of its batch run than max_running allows.",
    )
    retry_at = models.DateTimeField(
        null=True, blank=True, help_text="When the task of the next attempt is to be queued."
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = text_field("User name; empty on a public site.")
    cancel_acknowledged_at = models.DateTimeField(
        null=True, blank=True, help_text="When the running process learned of the request."
    )
    waiting_for = text_field("The service that the running attempt waits for.")
    error = models.TextField(
        blank=True,
        help_text="Why the job ended without success; of a queued job, why its last attempt did.",
    )

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = INDEXES
        constraints = CONSTRAINTS
        permissions = [("start_job", "Can start, cancel and retry jobs")]

    def __str__(self) -> str:
        return f"{self.document_name or self.document_id} ({self.id})"

    @property
    def about(self) -> models.Model | None:
        """The object that the job is about, read from the database."""
        return About(self.about_model, self.about_id).load()

    @property
    def job_status(self) -> JobStatus:
        return JobStatus(self.status)

    @property
    def is_finished(self) -> bool:
        return self.job_status.is_final

    @property
    def is_asked_to_stop(self) -> bool:
        """Was the job's process asked? It was not if the request itself ended the job."""
        requested_at = self.cancel_requested_at
        return requested_at is not None and requested_at != self.finished_at

    @property
    def result(self) -> JobResult | None:
        """The result; None until the job has ended."""
        if not self.is_finished:
            return None
        is_partial = self.job_status.has_succeeded and self.failed_items
        return JobResult.PARTIAL if is_partial else JobResult(self.status)

    @property
    def version(self) -> str:
        """Identifies this state among all states the job ever had.

        A restored backup repeats revisions, but not the times at which they were written.
        """
        milliseconds = self.updated_at.timestamp() * 1000
        return f"{self.epoch}-{self.revision}-{milliseconds:.0f}"

    def liveness(self, now: datetime) -> Liveness | None:
        """The liveness at `now`, from the last heartbeat and change; None once it has ended."""
        status = self.job_status
        if status.is_final:
            return None
        if status is JobStatus.QUEUED:
            waited = (now - (self.retry_at or self.queued_at or self.created_at)).total_seconds()
            is_late = waited > conf.starved_after_seconds and not self.waits_for_batch
            return Liveness.STARVED if is_late else Liveness.QUEUED
        silent = (now - (self.heartbeat_at or self.updated_at)).total_seconds()
        if silent > conf.lost_after_seconds:
            return Liveness.LOST
        if silent > conf.lost_after_seconds * SILENT_SHARE:
            return Liveness.SILENT
        unchanged = (now - self.updated_at).total_seconds()
        is_stalled = unchanged > conf.stalled_after_seconds and not self.waiting_for
        return Liveness.STALLED if is_stalled else Liveness.WORKING

    def awaited_service(self, now: datetime) -> str:
        """The service that the job waits for at `now`; empty unless its process is alive."""
        return self.waiting_for if self.liveness(now) is Liveness.WORKING else ""
