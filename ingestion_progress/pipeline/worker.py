"""A worker of the database task backend that also recovers the work of killed workers."""

import logging
import os
import secrets
import signal
import threading
from datetime import timedelta
from types import FrameType
from typing import Any

from django.db import DatabaseError, close_old_connections, connections
from django.db.models import QuerySet
from django.utils import timezone
from django_tasks_db.compat import TaskResultStatus
from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

from ingestion_progress.conf import conf as app_conf
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.recovery.rescue import queue_due_tasks, rescue_pass
from ingestion_progress.recovery.tasks import job_id_of

logger = logging.getLogger("ingestion_progress.worker")

STOPPED = "The worker was stopped."
QUEUE = "default"
RECOVERY_SECONDS = 5.0


class OrphanedTask(Exception):
    """The worker of this task was killed, and its job has ended."""


class IngestionWorker(Worker):
    """Runs one task at a time. A signal stops it immediately and hands the running job back."""

    def __init__(self, *, interval_seconds: float, is_draining: bool = False) -> None:
        super().__init__(
            queue_names=[QUEUE],
            excluded_queue_names=[],
            interval=interval_seconds,
            batch=is_draining,
            backend_name="default",
            startup_delay=False,
            max_tasks=None,
            worker_id=secrets.token_hex(8),
        )

    def shutdown(self, signum: int, frame: FrameType | None) -> None:
        if not self.running:
            os._exit(1)  # a second signal does not wait for a thread that hangs
        self.running = False
        # The task runs in the main thread too, so its job records this exception.
        raise SystemExit(STOPPED)

    def configure_signals(self) -> None:
        signal.signal(signal.SIGINT, self.shutdown)
        signal.signal(signal.SIGTERM, self.shutdown)

    def run(self) -> None:
        """Runs until a signal or, with `is_draining`, an empty queue. Requeues a task without a
        started job at the end.
        """
        is_stopped = threading.Event()
        thread = threading.Thread(
            target=_recover_regularly,
            args=[is_stopped, self.worker_id],
            name="recovery",
            daemon=True,
        )
        try:
            self.configure_signals()
            thread.start()
            logger.info("worker_started", extra={"worker_id": self.worker_id})
            super().run()
        except SystemExit as stop:
            if stop.code != STOPPED:
                raise
        finally:
            is_stopped.set()
            requeue(_tasks_of(self.worker_id))
            queue_due_tasks()  # a job that was handed back continues with another worker
            logger.info("worker_stopped", extra={"worker_id": self.worker_id})


def recover_abandoned(worker_id: str = "") -> None:
    """Corrects jobs and tasks that a killed worker left running.

    A job without a heartbeat gets a new attempt, or is lost. The task of a finished job is failed.
    A task whose job has not started for a long time is queued again.
    """
    rescue_pass()
    others = [task for task in _running_tasks() if worker_id not in task.worker_ids]
    ended = _jobs_of(others, Job.objects.finished())
    for task in others:
        if job_id_of(task) in ended or not Job.objects.filter(pk=job_id_of(task)).exists():
            task.set_failed(OrphanedTask("Its worker was killed."))
    limit = timezone.now() - timedelta(seconds=app_conf.lost_after_seconds)
    requeue(_running_tasks().filter(started_at__lt=limit))


def requeue(tasks: QuerySet[DBTaskResult[Any, Any]]) -> None:
    """Queues the tasks again whose job has not started."""
    queued = _jobs_of(tasks, Job.objects.filter(status=JobStatus.QUEUED))
    waiting = [task.pk for task in tasks if job_id_of(task) in queued]
    if waiting:
        tasks.filter(pk__in=waiting).update(status=TaskResultStatus.READY, started_at=None)


def _recover_regularly(is_stopped: threading.Event, worker_id: str) -> None:
    try:
        while not is_stopped.is_set():
            close_old_connections()
            try:
                recover_abandoned(worker_id)
            except DatabaseError:
                logger.warning("recovery_failed", exc_info=True)
            is_stopped.wait(RECOVERY_SECONDS)
    finally:
        connections.close_all()


def _running_tasks() -> QuerySet[DBTaskResult[Any, Any]]:
    return DBTaskResult.objects.running().filter(task_path=conf.task)


def _tasks_of(worker_id: str) -> QuerySet[DBTaskResult[Any, Any]]:
    # SQLite cannot search the JSON of `worker_ids`; the id is random, so a text search is safe.
    return _running_tasks().filter(worker_ids__icontains=worker_id)


def _jobs_of(tasks: Any, jobs: QuerySet[Job]) -> set[str]:
    return set(jobs.filter(pk__in=[job_id_of(task) for task in tasks]).values_list("pk", flat=True))
