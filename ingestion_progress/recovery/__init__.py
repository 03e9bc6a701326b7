"""How jobs get another attempt: retries by people, and the rescue of jobs whose process died."""

from ingestion_progress.recovery.batches import (
    DELETE_SECONDS,
    BatchDeletion,
    BatchResult,
    cancel_batch,
    continue_batch,
    delete_batch,
    retry_batch,
)
from ingestion_progress.recovery.lost_jobs import has_sign_of_life, mark_lost
from ingestion_progress.recovery.rescue import RescueCounts, rescue_pass
from ingestion_progress.recovery.retries import RetryScope, retry_job, retry_jobs

__all__ = [
    "DELETE_SECONDS", "BatchDeletion", "BatchResult", "RescueCounts", "RetryScope",
    "cancel_batch", "continue_batch", "delete_batch", "has_sign_of_life", "mark_lost",
    "rescue_pass", "retry_batch", "retry_job", "retry_jobs",
]  # fmt: skip
