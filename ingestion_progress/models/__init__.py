"""The models: jobs with stages, workers, attempts, samples, log, errors; quotas; revocations."""

from ingestion_progress.concurrency.compat.django import insert_rows, rows_by
from ingestion_progress.models.attempts import Checkpoint, JobAttempt, RescueWatch
from ingestion_progress.models.batches import Batch
from ingestion_progress.models.errors import JobError
from ingestion_progress.models.events import JobEvent
from ingestion_progress.models.ids import clean_batch, clean_job_id, new_epoch, new_job_id
from ingestion_progress.models.jobs import Job
from ingestion_progress.models.quotas import QuotaCount
from ingestion_progress.models.revocations import TokenRevocation
from ingestion_progress.models.samples import JobSamples
from ingestion_progress.models.stages import Stage
from ingestion_progress.models.workers import Worker

__all__ = [
    "Batch", "Checkpoint", "Job", "JobAttempt", "JobError", "JobEvent", "JobSamples", "QuotaCount",
    "RescueWatch", "Stage", "TokenRevocation", "Worker",
    "clean_batch", "clean_job_id", "insert_rows", "new_epoch", "new_job_id", "rows_by",
]  # fmt: skip
