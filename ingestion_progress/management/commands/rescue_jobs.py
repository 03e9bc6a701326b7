"""`manage.py rescue_jobs`: gives jobs whose process died their next attempt."""

import signal
import threading
from typing import Any

from django.core.management.base import CommandParser

from ingestion_progress.conf import conf
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.recovery.rescue import (
    RescueCounts,
    pass_seconds,
    queue_starved_tasks,
    report_death,
    rescue_pass,
)
from ingestion_progress.recovery.rescuer import passes


class Command(TerminalCommand):
    help = (
        "Gives jobs whose process died their next attempt, until SIGTERM or Ctrl-C. Workers, and "
        "web processes from their first stream on, do the same; this is for sites without both."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once",
            action="store_true",
            help="Watch the heartbeats for LOST_AFTER_SECONDS, rescue lost jobs, and stop.",
        )
        parser.add_argument(
            "--died",
            metavar="HOST/PID",
            help="Rescue the jobs of this process, which has ended, and stop.",
        )

        parser.add_argument(
            "--starved",
            action="store_true",
            help="Queue the tasks of starved jobs again, after a broker has lost its messages, "
            "and stop.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["died"]:
            self._report(report_death(options["died"]))
            return
        if options["starved"]:
            self._report(queue_starved_tasks())
            return
        is_stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: is_stopped.set())
        if options["once"]:
            # One interval more, because the first pass may begin the watch.
            seconds = conf.lost_after_seconds + 2 * pass_seconds()
            threading.Timer(seconds, is_stopped.set).start()
        for counts in passes(is_stopped, rescue_pass):
            self._report(counts)

    def _report(self, counts: RescueCounts) -> None:
        if counts != RescueCounts():
            pruned = f", {counts.pruned} old jobs deleted" if counts.pruned else ""
            self.stdout.write(f"{counts.lost} lost, {counts.queued} queued{pruned}")
