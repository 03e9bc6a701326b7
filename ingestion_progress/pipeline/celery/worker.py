"""What a Celery worker does for jobs beside running tasks. Needs Celery's pool `prefork`."""

import logging
import threading
import time
from contextlib import suppress
from typing import Any

from celery import signals
from celery.app.task import Context
from celery.worker import state

from ingestion_progress.exceptions import InvalidTransition, JobNotFound
from ingestion_progress.pipeline.celery.backend import RUN_TASK
from ingestion_progress.pipeline.celery.requests import JobRequest, report
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.maintenance import start_maintenance
from ingestion_progress.pipeline.parser_process.connection import parser_process
from ingestion_progress.tracker import request_cancellation

logger = logging.getLogger("ingestion_progress.worker")

GRACE_SECONDS = 3.0
GRACE_OPTION = "ingestion_grace_seconds"


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def start(**kwargs: Any) -> None:
    """Prepares each process of the pool."""
    parser_process()  # it loads the parsers before the first document
    start_maintenance(threading.Event())


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def hand_back_soon(how: str, **kwargs: Any) -> None:
    """Lets running jobs finish for a while, as `ingestion_worker`. Runs in the main process."""
    if how == "Warm":
        threading.Thread(target=_hand_back, name="hand-back", daemon=True).start()


@signals.task_revoked.connect  # type: ignore[untyped-decorator]
def cancel(request: Context, **kwargs: Any) -> None:
    """Cancels the job of an ingestion whose task is revoked. Runs in the main process."""
    path, arguments, *_ = [*request.args, "", []] if request.args else ["", []]
    if path == conf.task and arguments:
        report("revocation", lambda: _cancel(arguments[0]))


def _cancel(job_id: str) -> None:
    with suppress(JobNotFound, InvalidTransition):
        request_cancellation(job_id, by="Celery (revoked)")


def _hand_back() -> None:
    from celery import current_app

    time.sleep(current_app.conf.get(GRACE_OPTION, GRACE_SECONDS))
    while True:  # until the process ends, which waits for the tasks
        for request in _active_requests():
            if isinstance(request, JobRequest) and request.name == RUN_TASK:
                request.interrupt()
        time.sleep(0.2)


def _active_requests() -> tuple[Any, ...]:
    """Empty if the main thread has changed them meanwhile: the next look sees them."""
    try:
        return tuple(state.active_requests)
    except RuntimeError:
        return ()
