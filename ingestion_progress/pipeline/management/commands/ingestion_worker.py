"""`manage.py ingestion_worker`: runs queued ingestions."""

import gc
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.utils.module_loading import import_string

from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.pipeline import ingestion
from ingestion_progress.pipeline.conf import conf

TASK_QUEUE = "django_tasks_db.DatabaseBackend"


class Command(TerminalCommand):
    help = (
        "Runs queued ingestions, one at a time, until SIGTERM or Ctrl-C. Start one per free core."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--interval",
            type=float,
            default=0.5,
            metavar="SECONDS",
            help="Pause between queries of an empty queue (default: %(default)s).",
        )
        parser.add_argument(
            "--grace",
            type=float,
            default=3.0,
            metavar="SECONDS",
            help="Time for the running job to finish after SIGTERM. Then it is handed back, and "
            "another worker continues it (default: %(default)s).",
        )
        parser.add_argument("--drain", action="store_true", help="Stop when the queue is empty.")

    def handle(self, *args: Any, **options: Any) -> None:
        _require_queue()
        from ingestion_progress.pipeline.worker import IngestionWorker

        # Their libraries take a second to load, which would delay the first document.
        if not options["drain"]:
            ingestion.load_parsers()
        # Otherwise Python frees all loaded modules at exit, which takes 0.6 s.
        gc.freeze()
        worker = IngestionWorker(
            interval_seconds=max(0.05, options["interval"]),
            grace_seconds=max(0.0, options["grace"]),
            is_draining=options["drain"],
        )
        worker.run()
        self.stdout.write("The worker has stopped.")


def _require_queue() -> None:
    """Raises CommandError if the ingestion task is in a queue of another kind or name."""
    if not apps.is_installed("django_tasks_db"):
        raise CommandError(
            f"This worker serves {TASK_QUEUE}, and django_tasks_db is not in INSTALLED_APPS: "
            "start the worker of the task queue that the site uses."
        )
    from django_tasks_db import DatabaseBackend

    from ingestion_progress.pipeline.worker import QUEUE

    task = _task()
    backend = task.get_backend()
    if not isinstance(backend, DatabaseBackend):
        kind = type(backend)
        raise CommandError(
            f"This worker serves {TASK_QUEUE}, and TASKS names {kind.__module__}.{kind.__name__}: "
            "start the worker of that one."
        )
    if task.queue_name != QUEUE:
        raise CommandError(
            f"This worker serves the queue {QUEUE}, and {conf.task} is in {task.queue_name}: run "
            f"manage.py db_worker --queue-name {task.queue_name}."
        )


def _task() -> Any:
    try:
        from django.tasks.exceptions import InvalidTask
    except ImportError:  # before Django 6.0
        from django_tasks.exceptions import (  # type: ignore[assignment]
            InvalidTaskError as InvalidTask,
        )
    try:
        return import_string(conf.task)
    except InvalidTask as error:
        raise CommandError(f"TASKS does not take {conf.task}: {error}") from error
    except (ImportError, ImproperlyConfigured) as error:
        raise CommandError(f"The task {conf.task} cannot be loaded: {error}") from error
