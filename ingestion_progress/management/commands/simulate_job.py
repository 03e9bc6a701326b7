"""`manage.py simulate_job`: a synthetic job for a front end under development."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ingestion_progress.exceptions import IngestionProgressError
from ingestion_progress.management.simulation import DOCUMENT_NAME, SimulatedFailure, Simulation
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.models import Job, new_job_id
from ingestion_progress.tracker import queue_job


class Command(TerminalCommand):
    help = (
        "Drives a synthetic job through the real tracker, in a process that outlives this "
        "command, and prints its id as the last line."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        seconds, workers, percent = _between(0.1, 86_400), _between(0, 1_000), _between(0.0, 100)
        parser.add_argument(
            "--seconds", type=seconds, default=30.0, help="The whole time. Default: 30."
        )
        parser.add_argument("--job-id", metavar="ID", help="Default: one that cannot be guessed.")
        parser.add_argument(
            "--stages", type=_names, metavar="a,b", help="Default: those of document ingestion."
        )
        parser.add_argument(
            "--workers", type=workers, default=4, help="Size of the worker pool. Default: 4."
        )
        parser.add_argument(
            "--fail-at", type=percent, metavar="PERCENT", help="Overall. Default: it succeeds."
        )
        parser.add_argument(
            "--foreground", action="store_true", help="Return when the job has ended."
        )
        # The job was queued by the command that started this one.
        parser.add_argument("--queued", action="store_true", help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        simulation = Simulation(
            seconds=options["seconds"],
            stages=options["stages"],
            workers=options["workers"],
            fail_at_percent=options["fail_at"],
        )
        job_id = options["job_id"]
        try:
            if not options["queued"]:
                job: Job = queue_job(
                    DOCUMENT_NAME,
                    job_id=new_job_id() if job_id is None else job_id,
                    stages=simulation.stages,
                    workers=simulation.workers,
                )
                job_id = job.pk
            self.stdout.write(job_id)
            self.stdout.flush()
            if options["foreground"]:
                simulation.run(job_id)
            else:
                _detach(simulation, job_id)
        except SimulatedFailure as failure:
            self.stderr.write(str(failure))  # the command did as requested
        except (IngestionProgressError, ValueError) as error:
            raise CommandError(str(error)) from error


def _detach(simulation: Simulation, job_id: str) -> None:
    """Starts the simulation in another session: it outlives this process and its terminal."""
    options = {
        "job-id": job_id,
        "seconds": simulation.seconds,
        "workers": simulation.workers,
        "stages": simulation.stages and ",".join(simulation.stages),
        "fail-at": simulation.fail_at_percent,
    }
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    # Started by its module: this process need not have been started by manage.py.
    path = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH", "")]))
    subprocess.Popen(  # noqa: S603 (a list of checked values, no shell)
        [sys.executable, "-m", "django", "simulate_job", "--foreground", "--queued", *given],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _between(lowest: float, highest: float) -> Callable[[str], float]:
    """A whole number where the lowest is one."""
    kind, noun = (int, "whole number") if isinstance(lowest, int) else (float, "number")

    def parse(text: str) -> float:
        with suppress(ValueError):
            if lowest <= (value := kind(text)) <= highest:  # not true of nan
                return value
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a {noun} from {lowest:g} to {highest:g}."
        )

    return parse


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of different names, such as parsing,embedding."
        )
    return names
