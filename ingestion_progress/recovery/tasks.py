"""The tasks of jobs, in any task queue."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import apps
from django.utils.module_loading import import_string

from ingestion_progress.models import Job


class AttemptLost(Exception):
    """The process that ran this task died; the job has another attempt, or has ended."""


def queue_task(job: Job) -> None:
    """Puts the job's task into its queue: a Django Task or a Celery task, called with the job's id.

    Raises ImportError if there is no such task, TypeError if it is of another kind, and what the
    queue raises.
    """
    task = import_string(job.task)
    if job.priority and hasattr(task, "using") and task.get_backend().supports_priority:
        task = task.using(priority=job.priority)
    queue = getattr(task, "enqueue", None) or getattr(task, "delay", None)
    if queue is None:
        raise TypeError(f"{job.task} is neither a Django Task nor a Celery task.")
    queue(job.pk)


def end_lost_tasks(job: Job) -> None:
    """Marks tasks of the job failed that the database queue of django-tasks-db holds as running."""
    if not apps.is_installed("django_tasks_db"):
        return
    from django_tasks_db.models import DBTaskResult

    # SQLite cannot search in JSON; ids of jobs are random, and the arguments are compared below.
    running = DBTaskResult.objects.running().filter(
        task_path=job.task, args_kwargs__icontains=job.pk
    )
    for task in running:
        if job_id_of(task) == job.pk:
            task.set_failed(AttemptLost("Its worker was killed."))


def delete_task_results(job_ids: Collection[str]) -> None:
    """Deletes the ended tasks of the jobs that the database queue of django-tasks-db keeps."""
    if not apps.is_installed("django_tasks_db"):
        return
    from django_tasks_db.models import DBTaskResult

    DBTaskResult.objects.finished().filter(args_kwargs__args__0__in=job_ids).delete()


def job_id_of(task: Any) -> str:
    """The first argument of a task in the database queue."""
    arguments = task.args_kwargs
    return str((arguments["args"] or list(arguments["kwargs"].values()) or [""])[0])
