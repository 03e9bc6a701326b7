"""The process that runs ingestions: a worker of the database task backend that keeps house."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, close_old_connections, connections
from django.utils import timezone
from django_tasks_db.compat import TaskResultStatus
from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

from ingestion_progress.conf import conf as app_conf
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.tracker import lose_silent_jobs

if TYPE_CHECKING:
    from types import FrameType

    from django.db.models import QuerySet

logger = logging.getLogger("ingestion_progress.worker")

STOPPED = "The worker was stopped."
QUEUE = "default"
HOUSEKEEPING_SECONDS = 5.0


class OrphanedTask(Exception):
    """The worker of this task is gone, and its job has ended without it."""


class IngestionWorker(Worker):
    """Takes one task at a time. A signal stops it at once; a running job learns why."""

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
            os._exit(1)  # asked twice: whatever hangs may hang
        self.running = False
        # In the main thread, so it goes up through the task, whose job records it.
        raise SystemExit(STOPPED)

    def configure_signals(self) -> None:
        signal.signal(signal.SIGINT, self.shutdown)
        signal.signal(signal.SIGTERM, self.shutdown)

    def run(self) -> None:
        """Until a signal or, with `is_draining`, an empty queue. Leaves no task half-taken."""
        is_over = threading.Event()
        keeper = threading.Thread(
            target=_keep_house, args=[is_over, self.worker_id], name="housekeeping", daemon=True
        )
        try:
            self.configure_signals()
            keeper.start()
            logger.info("worker_started", extra={"worker_id": self.worker_id})
            super().run()
        except SystemExit as stop:
            if stop.code != STOPPED:
                raise
        finally:
            is_over.set()
            give_back(_tasks_of(self.worker_id))
            logger.info("worker_stopped", extra={"worker_id": self.worker_id})


def keep_house(worker_id: str = "") -> None:
    """What a killed worker leaves behind: jobs and tasks that look as if they were running.

    A job without a sign of life is lost. The task of a job that has ended has failed. A task that
    was taken long ago while its job never began goes back to the queue.
    """
    lose_silent_jobs()
    others = [task for task in _running_tasks() if worker_id not in task.worker_ids]
    ended = _jobs_of(others, Job.objects.finished())
    for task in others:
        if _job_id(task) in ended or not Job.objects.filter(pk=_job_id(task)).exists():
            task.set_failed(OrphanedTask("Its worker is gone."))
    long_ago = timezone.now() - timedelta(seconds=app_conf.lost_after_seconds)
    give_back(_running_tasks().filter(started_at__lt=long_ago))


def give_back(tasks: QuerySet[DBTaskResult[Any, Any]]) -> None:
    """Returns to the queue those of the tasks whose job has not begun."""
    queued = _jobs_of(tasks, Job.objects.filter(status=JobStatus.QUEUED))
    mine = [task.pk for task in tasks if _job_id(task) in queued]
    if mine:
        tasks.filter(pk__in=mine).update(status=TaskResultStatus.READY, started_at=None)


def _keep_house(is_over: threading.Event, worker_id: str) -> None:
    try:
        while not is_over.is_set():
            close_old_connections()
            try:
                keep_house(worker_id)
            except DatabaseError:
                logger.warning("housekeeping_failed", exc_info=True)
            is_over.wait(HOUSEKEEPING_SECONDS)
    finally:
        connections.close_all()


def _running_tasks() -> QuerySet[DBTaskResult[Any, Any]]:
    return DBTaskResult.objects.running().filter(task_path=conf.task)


def _tasks_of(worker_id: str) -> QuerySet[DBTaskResult[Any, Any]]:
    # `worker_ids` is JSON, which SQLite cannot search; the id is random, so text will do.
    return _running_tasks().filter(worker_ids__icontains=worker_id)


def _job_id(task: DBTaskResult[Any, Any]) -> str:
    arguments = task.args_kwargs
    return str((arguments["args"] or list(arguments["kwargs"].values()) or [""])[0])


def _jobs_of(tasks: Any, jobs: QuerySet[Job]) -> set[str]:
    return set(jobs.filter(pk__in=[_job_id(task) for task in tasks]).values_list("pk", flat=True))
