"""Errors that may pass: they are waited for, and are never the fault of a document or chunk."""

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
    """Repeats it while it fails with an error that may pass, and the job is not to stop.

    Raises JobCancelled, JobSuperseded and, in the end, the last error.
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
