"""What the main process of a worker sees of a running task."""

import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.worker.request import Request
from django.db import connections

from ingestion_progress.recovery.rescue import report_death
from ingestion_progress.tracker.attempts import process_name

logger = logging.getLogger("ingestion_progress.worker")


class JobRequest(Request):  # type: ignore[misc]
    """Reports the death of a process of the pool, so that its job need not wait for a lease."""

    is_interrupted = False

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> None:
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, WorkerLostError):
            self._report_death()
        super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        super().on_timeout(soft, timeout)
        if not soft:
            self._report_death()

    def interrupt(self) -> None:
        """Asks the process, once, to hand its job back."""
        if self.worker_pid and not self.is_interrupted:
            self.is_interrupted = True
            with suppress(ProcessLookupError):
                os.kill(self.worker_pid, signal.SIGTERM)

    def _report_death(self) -> None:
        writer = process_name(self.worker_pid)
        report("death", lambda: report_death(writer))


def report(name: str, act: Callable[[], object]) -> None:
    """Calls the database in the main thread, briefly and without raising.

    The pool forks in this thread: a child would inherit the locks that another thread holds.
    """
    try:
        act()
    except Exception:
        logger.exception("worker_not_reported", extra={"act": name})
    finally:
        connections.close_all()
