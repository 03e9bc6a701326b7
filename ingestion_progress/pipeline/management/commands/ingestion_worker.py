from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from ingestion_progress.pipeline import ingestion
from ingestion_progress.pipeline.worker import IngestionWorker

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    help = (
        "Runs queued ingestions, one at a time, until it is told to stop with SIGTERM or Ctrl-C. "
        "Start as many as there are cores to spare."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--interval",
            type=float,
            default=0.5,
            metavar="SECONDS",
            help="How often to look for work while there is none (default: %(default)s).",
        )
        parser.add_argument("--batch", action="store_true", help="Stop when there is no more work.")

    def handle(self, *args: Any, **options: Any) -> None:
        # Its libraries take a second to load; the first document shall not wait for them.
        ingestion.warm_up()
        # They stay: a worker that is told to stop does not take them apart first (0.6 s).
        gc.freeze()
        worker = IngestionWorker(
            interval_seconds=max(0.05, options["interval"]), is_batch=options["batch"]
        )
        worker.run()
        self.stdout.write("The worker has stopped.")
