"""`manage.py ingestion_worker`: runs queued ingestions, from either task queue."""

import gc
import logging
import secrets
from contextlib import suppress
from importlib import import_module
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.utils.module_loading import import_string

from ingestion_progress.concurrency.scheduling import schedule_as_batch
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.pipeline.celery.backend import CeleryBackend
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.parser_process.connection import parser_process

TASK_QUEUE = "django_tasks_db.DatabaseBackend"


class Command(TerminalCommand):
    help = (
        "Runs queued ingestions until SIGTERM or Ctrl-C: one at a time (start a worker per free "
        "core), or several with a Celery worker."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--interval",
            type=float,
            default=0.5,
            metavar="SECONDS",
            help="Pause between queries of an empty queue in the database (default: %(default)s).",
        )
        parser.add_argument(
            "--concurrency",
            type=int,
            metavar="N",
            help="Processes of a Celery worker (default: one per core).",
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
        schedule_as_batch()
        backend = _task().get_backend()
        run = _run_celery if isinstance(backend, CeleryBackend) else _run_embedded
        # Its libraries take a second to load, which would delay the first document.
        if not options["drain"]:
            import_module("ingestion_progress.pipeline.ingestion")
        # Otherwise Python frees all loaded modules at exit, which takes 0.6 s.
        gc.freeze()
        run(backend, options)
        self.stdout.write("The worker has stopped.")


def _run_celery(backend: CeleryBackend, options: dict[str, Any]) -> None:
    for problem in backend.check():
        raise CommandError(f"{problem.msg} {problem.hint}")
    if options["drain"]:
        raise CommandError("--drain is for the queue in the database, not for Celery.")
    from ingestion_progress.pipeline.celery.worker import GRACE_OPTION

    app = backend.app
    app.conf[GRACE_OPTION] = max(0.0, options["grace"])
    argv = ["worker", "--loglevel", logging.getLevelName(logging.getLogger().getEffectiveLevel())]
    # RabbitMQ refuses a second worker of the same name, and containers may share pid and host.
    argv += ["--hostname", f"ingestion-{secrets.token_hex(4)}@%h"]
    if options["concurrency"]:
        argv += ["--concurrency", str(max(1, options["concurrency"]))]
    with suppress(SystemExit):
        app.worker_main(argv)


def _run_embedded(backend: object, options: dict[str, Any]) -> None:
    _require_queue()
    if not options["drain"]:
        parser_process()  # it loads the parsers meanwhile
    if options["concurrency"]:
        raise CommandError(
            "--concurrency is for Celery. This worker ingests one document at a time: start "
            "several, or set TASK_QUEUE=celery."
        )
    from ingestion_progress.pipeline.worker import IngestionWorker

    IngestionWorker(
        interval_seconds=max(0.05, options["interval"]),
        grace_seconds=max(0.0, options["grace"]),
        is_draining=options["drain"],
    ).run()


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
