"""Repeats calls after temporary errors, which no document or chunk causes."""

from collections.abc import Callable
from typing import TypeVar

from django.db import close_old_connections
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
)

from ingestion_progress.exceptions import DATABASE_UNAVAILABLE, ProgressUnavailable
from ingestion_progress.pipeline.exceptions import VectorStoreBusy
from ingestion_progress.tracker import JobTracker

Result = TypeVar("Result")

PASSING = (*DATABASE_UNAVAILABLE, ProgressUnavailable, VectorStoreBusy, ConnectionError)
# After this the attempt ends, and the next one continues.
PATIENCE_SECONDS = 60.0


def patiently(job: JobTracker, act: Callable[[], Result]) -> Result:
    """Repeats the call after a temporary error, unless the job is to stop.

    Raises JobCancelled, JobSuperseded and, after the last repetition, the error.
    """

    def between(state: RetryCallState) -> None:
        close_old_connections()
        job.raise_if_cancelled()

    attempts = Retrying(
        retry=retry_if_exception_type(PASSING),
        stop=stop_after_delay(PATIENCE_SECONDS),
        wait=wait_exponential(multiplier=0.05, max=1.0),
        before_sleep=between,
        reraise=True,
    )
    result: Result = attempts(act)
    return result
