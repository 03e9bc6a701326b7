"""A worker of the database task backend that also rescues the jobs of killed workers."""

import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from types import FrameType
from typing import Any

from django.db import close_old_connections, connections, router
from django.db.models import QuerySet
from django_tasks_db.compat import TaskResultStatus
from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.concurrency.write_queue import write_transaction
from ingestion_progress.conf import conf as app_conf
from ingestion_progress.exceptions import DATABASE_UNAVAILABLE, ProgressUnavailable
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.maintenance import start_maintenance
from ingestion_progress.pipeline.tasks import extract_chunks
from ingestion_progress.recovery.rescue import queue_due_tasks, rescue_pass
from ingestion_progress.recovery.tasks import job_id_of

logger = logging.getLogger("ingestion_progress.worker")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)  # SIGALRM: the grace is over
STOPPED = "The worker was stopped."
QUEUE = "default"
FIRST_PAUSE_SECONDS = 0.5
LAST_PAUSE_SECONDS = 5.0
CONNECTION_SECONDS = 600
# A stopped worker waits this long for a database that is down.
LAST_WORDS_SECONDS = 1.0


class OrphanedTask(Exception):
    """The worker of this task was killed, and its job has ended."""


class IngestionWorker(Worker):
    """Runs one task at a time, and survives a database that is down.

    A signal lets the running job finish within a grace. Then, or at a second signal, the job is
    handed back: another worker continues it. A further signal ends the process immediately.
    """

    def __init__(
        self, *, interval_seconds: float, grace_seconds: float = 0.0, is_draining: bool = False
    ) -> None:
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
        self._grace_seconds = grace_seconds
        self._is_leaving = False
        self._backoff = Backoff(
            logger,
            down="worker_database_down",
            back="worker_database_back",
            first_seconds=FIRST_PAUSE_SECONDS,
            last_seconds=LAST_PAUSE_SECONDS,
        )

    def shutdown(self, signum: int, frame: FrameType | None) -> None:
        if self._is_leaving:
            os._exit(1)  # does not wait for a thread that hangs
        if self.running and self.running_task and self._grace_seconds:
            self.running = False
            signal.setitimer(signal.ITIMER_REAL, self._grace_seconds)
            return
        self.running = False
        self._is_leaving = True
        # The task runs in the main thread too, so its job records this exception.
        raise SystemExit(STOPPED)

    def configure_signals(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self.shutdown)

    def run(self) -> None:
        """Runs until a signal or, with `is_draining`, an empty queue. Requeues a task without a
        started job at the end.
        """
        is_stopped = threading.Event()
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        try:
            self.configure_signals()
            start_maintenance(is_stopped, partial(recover_abandoned, self.worker_id))
            logger.info("worker_started", extra={"worker_id": self.worker_id})
            with _kept_connections():
                self._with_patience(self._serve)
        except SystemExit as stop:
            if stop.code != STOPPED:
                raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            is_stopped.set()
            self._leave()
            logger.info("worker_stopped", extra={"worker_id": self.worker_id})
            for number, handler in handlers.items():
                signal.signal(number, handler or signal.SIG_DFL)  # None: not set by Python

    def _serve(self) -> None:
        while self.running:
            close_old_connections()
            if task := self._claimed():
                self.run_task(task)
            elif self.batch:
                return
            else:
                time.sleep(self.interval)

    def _claimed(self) -> DBTaskResult[Any, Any] | None:
        """The next task, which no other worker gets.

        The library's own claim locks SQLite outside the queue of writers, also for an empty queue,
        and reads the task in the transaction, during which no other process can write. Where rows
        can be locked, workers that claim at the same time get different tasks.
        """
        queued = DBTaskResult.objects.using(_alias()).ready()
        mine = queued.filter(backend_name=self.backend_name, queue_name__in=self.queue_names)
        can_lock = connections[mine.db].features.has_select_for_update_skip_locked
        while (task := mine.first()) is not None:
            with write_transaction(mine.db):
                task = mine.get_locked() if can_lock else task
                if task is None or _claim(task, self.worker_id):
                    return task
        return None

    def run_task(self, db_task_result: DBTaskResult[Any, Any]) -> None:
        # Otherwise a task that ends while the database is down would run for ever, or end as
        # failed although it succeeded.
        endings = {
            "set_successful": db_task_result.set_successful,
            "set_failed": partial(_fail_or_requeue, db_task_result),
        }
        for name, write in endings.items():
            setattr(db_task_result, name, partial(self._with_patience, self._write, write))
        super().run_task(db_task_result)

    def _write(self, act: Callable[..., Any], *args: Any) -> None:
        """Takes its turn among the writers of SQLite."""
        with write_transaction(_alias()):
            act(*args)

    def _with_patience(self, act: Callable[..., Any], *args: Any) -> None:
        """Repeats the call until the database answers, or for a second if the worker is stopped."""
        stopping_since = None
        while True:
            try:
                act(*args)
            except DATABASE_UNAVAILABLE as error:
                self._backoff.failed(error)
                connections.close_all()
                stopping_since = stopping_since or (None if self.running else time.monotonic())
                if stopping_since and time.monotonic() > stopping_since + LAST_WORDS_SECONDS:
                    raise
                time.sleep(self._backoff.pause_seconds)
            else:
                self._backoff.succeeded()
                return

    def _leave(self) -> None:
        try:
            requeue(_tasks_of(self.worker_id))
            queue_due_tasks()  # a job that was handed back continues with another worker
        except DATABASE_UNAVAILABLE:
            logger.warning("worker_left_its_task", exc_info=True)  # rescued after a lease


@contextmanager
def _kept_connections() -> Iterator[None]:
    """Keeps connections for the block: by default Django connects for each task. With its last
    connection, SQLite also copies its log into the file and waits for the disk.
    """
    options = [connections.settings[alias] for alias in connections]
    former = [dict(each) for each in options]
    for each in options:
        if each["CONN_MAX_AGE"] == 0:
            each |= {"CONN_MAX_AGE": CONNECTION_SECONDS, "CONN_HEALTH_CHECKS": True}
    try:
        yield
    finally:
        for each, before in zip(options, former, strict=True):
            each |= {key: before[key] for key in ("CONN_MAX_AGE", "CONN_HEALTH_CHECKS")}


def recover_abandoned(worker_id: str = "") -> None:
    """Rescues jobs, and corrects tasks that a killed worker left.

    A job without a heartbeat gets a new attempt, or is lost. The running task of an ended job is
    marked failed. A task whose job has not started for a lease is queued again.
    """
    rescue_pass()
    others = [task for task in _running_tasks() if worker_id not in task.worker_ids]
    active = set(_jobs_of(others, Job.objects.active()).values_list("pk", flat=True))
    for task in others:
        if job_id_of(task) not in active:
            task.set_failed(OrphanedTask("Its worker was killed."))
    limit = database_now() - timedelta(seconds=app_conf.lost_after_seconds)
    requeue(_running_tasks().filter(started_at__lt=limit))


def requeue(tasks: QuerySet[DBTaskResult[Any, Any]]) -> int:
    """Queues the tasks again whose job has not started. Returns their number."""
    queued_at = dict(_jobs_of(tasks, Job.objects.queued()).values_list("pk", "queued_at"))
    # A job that was queued after the start of its task has been handed back.
    waiting = [
        task.pk
        for task in tasks
        if job_id_of(task) in queued_at
        and not _is_after(queued_at[job_id_of(task)], task.started_at)
    ]
    if not waiting:
        return 0
    return tasks.filter(pk__in=waiting).update(status=TaskResultStatus.READY, started_at=None)


def _alias() -> str:
    return router.db_for_write(DBTaskResult)


def _claim(task: DBTaskResult[Any, Any], worker_id: str) -> bool:
    """False if another worker has claimed it.

    By the database's clock, as the times of jobs are: `task.claim` has that of this host.
    """
    task.status = TaskResultStatus.RUNNING
    task.started_at = database_now()
    task.worker_ids = [*task.worker_ids, worker_id]
    ready = DBTaskResult.objects.using(_alias()).filter(pk=task.pk, status=TaskResultStatus.READY)
    changed = ready.update(
        status=task.status, started_at=task.started_at, worker_ids=task.worker_ids
    )
    return changed > 0


def _is_after(moment: datetime | None, other: datetime | None) -> bool:
    return moment is not None and other is not None and moment > other


def _fail_or_requeue(task: DBTaskResult[Any, Any], error: BaseException) -> None:
    """Queues the task again if a signal or an outage stopped it before it started its job."""
    is_passing = isinstance(error, (SystemExit, ProgressUnavailable, *DATABASE_UNAVAILABLE))
    if not is_passing or not requeue(DBTaskResult.objects.filter(pk=task.pk)):
        DBTaskResult.set_failed(task, error)


def _running_tasks() -> QuerySet[DBTaskResult[Any, Any]]:
    paths = (conf.task, extract_chunks.module_path)
    return DBTaskResult.objects.running().filter(task_path__in=paths)


def _tasks_of(worker_id: str) -> QuerySet[DBTaskResult[Any, Any]]:
    # SQLite cannot search the JSON of `worker_ids`; the id is random, so a text search is safe.
    return _running_tasks().filter(worker_ids__icontains=worker_id)


def _jobs_of(tasks: Any, jobs: QuerySet[Job]) -> QuerySet[Job]:
    return jobs.filter(pk__in=[job_id_of(task) for task in tasks])
