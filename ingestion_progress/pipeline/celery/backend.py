"""A backend of Django Tasks whose tasks run in Celery workers.

    TASKS = {
        "default": {
            "BACKEND": "ingestion_progress.pipeline.celery.backend.CeleryBackend",
            "OPTIONS": {"app": "mysite.celery.app"},
        }
    }

Celery itself is imported with the first task, so that `manage.py check` can report that it is
missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import Any

from django.core import checks
from django.utils import timezone
from django.utils.module_loading import import_string
from django_tasks_db.compat import (
    DEFAULT_TASK_QUEUE_NAME,
    TASK_MAX_PRIORITY,
    TASK_MIN_PRIORITY,
    BaseTaskBackend,
    BaseTaskResult,
    Task,
    TaskResultStatus,
    task_enqueued,
)

from ingestion_progress.pipeline.celery import HIGHEST_PRIORITY

RUN_TASK = "ingestion_progress.run_task"
INSTALL_HINT = "Install it: pip install 'django-ingestion-progress[celery]'"
# An upload waits for an answer of the broker.
CONNECT_SECONDS = 3.0
# RabbitMQ waits this long for an acknowledgement; Redis waits for its `visibility_timeout`.
HELD_SECONDS = 1800
RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1}


class CeleryBackend(BaseTaskBackend):
    """The option `app` is the dotted path of the Celery app; default: Celery's current one."""

    supports_defer = True
    supports_priority = True

    @property
    def app(self) -> Any:
        if path := self.options.get("app"):
            return import_string(path)
        from celery import current_app

        return current_app

    def enqueue(
        self, task: Task[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> BaseTaskResult[Any, Any]:
        """Raises `kombu.exceptions.OperationalError` if the broker does not answer."""
        self.validate_task(task)
        app = self.app
        is_default = task.queue_name == DEFAULT_TASK_QUEUE_NAME
        sent = app.send_task(
            RUN_TASK,
            args=[task.module_path, list(args), dict(kwargs), *due_at(task.run_after)],
            queue=None if is_default else task.queue_name,
            priority=broker_priority(task.priority, app.conf.broker_url or ""),
            eta=next_delivery(task.run_after, app),
            retry_policy=RETRY_POLICY,
            ignore_result=True,
        )
        result: BaseTaskResult[Any, Any] = BaseTaskResult(
            task=task,
            id=sent.id,
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=list(args),
            kwargs=dict(kwargs),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        task_enqueued.send(type(self), task_result=result)
        return result

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        if find_spec("celery") is None:
            problem, number = "TASKS names CeleryBackend, and Celery is not installed.", 1
            return [_error(problem, INSTALL_HINT, number)]
        try:
            has_broker = bool(self.app.conf.broker_url)
        except ImportError as error:
            problem, number = f"The Celery app {self.options['app']} cannot be imported: {error}", 2
            hint = "TASKS['default']['OPTIONS']['app'] is its dotted path: 'mysite.celery.app'."
            return [_error(problem, hint, number)]
        if has_broker:
            return []
        hint = "Set broker_url to a Redis or RabbitMQ, as redis://localhost:6379/0."
        return [_error("The Celery app has no broker.", hint, 3)]

    def broker_problem(self) -> str:
        """Why the broker cannot be reached, without its password; empty if it answers."""
        with self.app.connection_for_write(connect_timeout=CONNECT_SECONDS) as connection:
            try:
                connection.ensure_connection(max_retries=1, interval_start=0.1)
            except Exception as error:  # noqa: BLE001  (each transport has different errors)
                return f"The broker {connection.as_uri()} does not answer: {error}"
        return ""


def due_at(run_after: datetime | None) -> list[float]:
    """The last argument of the Celery task: Unix seconds, if the task is deferred."""
    return [] if run_after is None else [run_after.timestamp()]


def next_delivery(run_after: datetime | None, app: Any) -> datetime | None:
    """When a worker is to look at a deferred task: at its time, or before that and then again.

    A worker holds a message until its time without acknowledging it. A broker delivers such a
    message again after a time-out, to several workers in the end.
    """
    if run_after is None:
        return None
    options = app.conf.broker_transport_options or {}
    seconds = min(options.get("visibility_timeout", HELD_SECONDS), HELD_SECONDS) / 2
    return min(run_after, timezone.now() + timedelta(seconds=seconds))


def _error(problem: str, hint: str, number: int) -> checks.CheckMessage:
    return checks.Error(problem, hint=hint, id=f"ingestion_pipeline.E{number:03}")


def broker_priority(priority: int, broker_url: str) -> int:
    """-100 to 100 of a Django Task as Celery's 0 to 9, of which Redis takes 0 first."""
    share = (priority - TASK_MIN_PRIORITY) / (TASK_MAX_PRIORITY - TASK_MIN_PRIORITY)
    level = round(share * HIGHEST_PRIORITY)
    return level if broker_url.startswith("amqp") else HIGHEST_PRIORITY - level
