"""The Celery task that runs Django Tasks, in a process of the worker's pool."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.utils.module_loading import import_string
from django_tasks_db.compat import Task

from ingestion_progress.pipeline.celery import worker  # noqa: F401  (connects its signals)
from ingestion_progress.pipeline.celery.backend import RUN_TASK, next_delivery
from ingestion_progress.recovery.rescue import queue_due_tasks

STOPPED = "The worker was stopped."


class TimeLimitExceeded(SoftTimeLimitExceeded):  # type: ignore[misc]
    def __str__(self) -> str:
        return "It took longer than the time limit of tasks."


@shared_task(  # type: ignore[untyped-decorator]
    name=RUN_TASK,
    bind=True,
    max_retries=None,  # of a deferred task, which is sent again until it is due
    ignore_result=True,
    # The message is acknowledged at the end, and delivered again if the process dies before it.
    acks_late=True,
    reject_on_worker_lost=True,
    Request="ingestion_progress.pipeline.celery.requests:JobRequest",
)
def run_task(
    self: Any, path: str, args: Sequence[Any], kwargs: Mapping[str, Any], due_at: float = 0
) -> None:
    """Calls the Django Task at a dotted path. Raises what it raises, or TypeError.

    `due_at`: Unix seconds before which the message is sent again instead.
    """
    if due_at > time.time():
        due = datetime.fromtimestamp(due_at, UTC)
        self.retry(eta=next_delivery(due, self.app), throw=False)
        return
    task = import_string(path)
    if not isinstance(task, Task):
        raise TypeError(f"{path} is not a Django Task.")
    try:
        with _signals_raise():
            task.call(*args, **kwargs)
    except SystemExit as stop:
        if stop.code != STOPPED:
            raise
        queue_due_tasks()  # the job that was handed back continues with another worker


@contextmanager
def _signals_raise() -> Iterator[None]:
    """A signal that stops the process or limits its time raises an exception in the task.

    Its job is then handed back, or fails. The process of the pool goes on.
    """
    if threading.current_thread() is not threading.main_thread():  # in a pool of threads
        yield
        return
    handlers = {signal.SIGTERM: _stop, signal.SIGUSR1: _limit}
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the handing back
    raise SystemExit(STOPPED)


def _limit(number: int, frame: FrameType | None) -> None:
    raise TimeLimitExceeded
