"""Queues the task of a new job: together with the job, or after it is committed."""

from collections.abc import Callable

from django.apps import apps
from django.db import router, transaction
from django.utils.module_loading import import_string

from ingestion_progress.exceptions.sentences import Sentence
from ingestion_progress.models import Job
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import TaskNotQueued
from ingestion_progress.recovery.tasks import queue_task


def queue_task_of(job: Job, using: str, on_refusal: Callable[[], object]) -> None:
    """Queues the task in the job's own transaction if the queue is in the same database.

    Then both are committed, or neither. Other queues are called after the commit, because their
    worker could otherwise look for the job before it is visible; `on_refusal` removes the committed
    job if they refuse it. Raises TaskNotQueued, now or at the commit.
    """
    if _is_queue_in(using):
        _enqueue(job)
        return

    def enqueue() -> None:
        try:
            _enqueue(job)
        except TaskNotQueued:
            on_refusal()
            raise

    transaction.on_commit(enqueue, using=using)


def _is_queue_in(using: str) -> bool:
    """Are the tables of the task queue and of the jobs in this database?"""
    if not apps.is_installed("django_tasks_db"):
        return False
    from django_tasks_db import DatabaseBackend
    from django_tasks_db.models import DBTaskResult

    is_table = isinstance(import_string(conf.task).get_backend(), DatabaseBackend)
    return is_table and {router.db_for_write(model) for model in (DBTaskResult, Job)} == {using}


def _enqueue(job: Job) -> None:
    try:
        queue_task(job)
    except Exception as error:
        raise TaskNotQueued(
            Sentence(
                "The task queue did not accept the document. Is its database or broker reachable?"
            )
        ) from error
