"""Repeats calls after temporary errors, which no document or chunk causes."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from django.db import close_old_connections
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
)

from ingestion_progress.concurrency.thread_pool import CHECK_SECONDS
from ingestion_progress.exceptions import DATABASE_UNAVAILABLE, ProgressUnavailable
from ingestion_progress.pipeline.exceptions import (
    GraphStoreBusy,
    ModelUnavailable,
    ParserUnavailable,
    StorageUnavailable,
    VectorStoreBusy,
)
from ingestion_progress.tracker import JobTracker

Result = TypeVar("Result")

PASSING = (
    *DATABASE_UNAVAILABLE,
    ProgressUnavailable,
    VectorStoreBusy,
    GraphStoreBusy,
    StorageUnavailable,
    ParserUnavailable,
    ModelUnavailable,
    ConnectionError,
)
# After this the attempt ends, and the next one continues.
PATIENCE_SECONDS = 60.0


def patiently(job: JobTracker, act: Callable[[], Result]) -> Result:
    """Calls, and repeats the call after a temporary error, unless the job is to stop. Meanwhile the
    job shows which service it waits for, if the error names one.

    Raises JobCancelled, JobSuperseded and, after the last repetition, the error.
    """
    job.raise_if_cancelled()
    with ExitStack() as waits:

        def failed(state: RetryCallState) -> None:
            close_old_connections()
            error = state.outcome.exception() if state.outcome else None
            if state.attempt_number == 1 and (service := getattr(error, "service", "")):
                waits.enter_context(job.waiting(service))

        attempts = Retrying(
            retry=retry_if_exception_type(PASSING),
            stop=stop_after_delay(PATIENCE_SECONDS),
            wait=wait_exponential(multiplier=0.05, max=1.0),
            before_sleep=failed,
            sleep=partial(pause, job),
            reraise=True,
        )
        result: Result = attempts(act)
    return result


def pause(job: JobTracker, seconds: float) -> None:
    """Raises JobCancelled or JobSuperseded if the job is to stop meanwhile."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        job.raise_if_cancelled()
        time.sleep(min(left, CHECK_SECONDS))
