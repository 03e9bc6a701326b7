"""What every worker does beside its tasks: rescues jobs, enforces cancellations, and cleans up."""

import logging
import os
import threading
from collections.abc import Callable
from datetime import timedelta

from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.documents.deletion import discard_deleted
from ingestion_progress.pipeline.documents.editions import discard_abandoned
from ingestion_progress.pipeline.openai.answers import answer_pruner
from ingestion_progress.recovery.rescue import report_death, rescue_pass
from ingestion_progress.recovery.rescuer import passes
from ingestion_progress.tracker.attempts import this_process

logger = logging.getLogger("ingestion_progress.worker")


def start_maintenance(
    is_stopped: threading.Event, recover: Callable[[], object] = rescue_pass
) -> None:
    """Starts two threads that call `recover` and `clean_up` regularly until the event is set."""
    _start_thread("recovery", _recover_regularly, is_stopped, recover)
    _start_thread("cleanup", _clean_up_regularly, is_stopped)


def _start_thread(name: str, act: Callable[..., None], *args: object) -> None:
    threading.Thread(target=act, args=args, name=name, daemon=True).start()


def clean_up() -> None:
    """Discards unpublished editions of ended jobs, or publishes them (KEEP_PARTIAL_RESULTS), and
    what they have written into deleted documents. Deletes answers of models that exceed the limit.
    """
    discard_abandoned()
    discard_deleted()
    answer_pruner.prune()


def _recover_regularly(is_stopped: threading.Event, recover: Callable[[], object]) -> None:
    for _ in passes(is_stopped, recover):
        _exit_if_a_cancelled_job_goes_on()


def _clean_up_regularly(is_stopped: threading.Event) -> None:
    """Apart from the recovery, which must not wait for Qdrant."""
    for _ in passes(is_stopped, clean_up):
        pass


def _exit_if_a_cancelled_job_goes_on() -> None:
    """Cancels a job of this process that has not stopped in time, and ends the process."""
    limit = database_now() - timedelta(seconds=conf.cancel_limit_seconds)
    own = Job.objects.running().filter(writer=this_process(), cancel_requested_at__lt=limit)
    if conf.cancel_limit_seconds and own.exists():
        logger.error("worker_ended_by_cancellation", extra={"jobs": [job.pk for job in own]})
        report_death(this_process())
        os._exit(1)
