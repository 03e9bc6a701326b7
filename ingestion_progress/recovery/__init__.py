"""How jobs get another attempt: retries by people, and the rescue of jobs whose process died."""

from ingestion_progress.recovery.rescue import RescueCounts, rescue_pass
from ingestion_progress.recovery.retries import RetryScope, retry_job, retry_jobs

__all__ = ["RescueCounts", "RetryScope", "rescue_pass", "retry_job", "retry_jobs"]
