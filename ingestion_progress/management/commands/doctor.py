from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseFailure
from django.db import connections

from ingestion_progress.auth import tokens
from ingestion_progress.exceptions import IngestionProgressError, TokenKeyMissing
from ingestion_progress.management.doctor import report
from ingestion_progress.management.doctor.endpoints import (
    Hop,
    InvalidAddress,
    hop_behind,
    public_hop,
)
from ingestion_progress.management.doctor.probe_job import MarkedJob
from ingestion_progress.management.doctor.run import Examination
from ingestion_progress.management.doctor.verdicts import Verdict, verdict_on
from ingestion_progress.management.terminal.one_job import console_for
from ingestion_progress.models import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from django.core.management.base import CommandParser

PROBLEMS, INTERRUPTED = 1, 130
# What says “stop” beside Ctrl-C: a supervisor, and a terminal that closes.
STOPS = (signal.SIGTERM, signal.SIGHUP)
# Ignored, or handled by something else than Python.
UNTOUCHED = (signal.SIG_IGN, None)


class Command(BaseCommand):
    help = (
        "Sends a marked job through the public address of the site, and says what is wrong on "
        "the way and what to set. Run it where manage.py has the site's settings and database. "
        "Exit code: 0 no problem, 1 a problem."
    )

    # Since Django 6.1 they ask the database: with one that does not answer, nothing else is said.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("url", metavar="URL", help="As browsers have it, without /api/….")
        parser.add_argument(
            "--behind",
            action="append",
            default=[],
            metavar="URL",
            help="An address behind it, such as the application server's own: says where a fault "
            "arises. Repeatable, from the outside in.",
        )
        parser.add_argument(
            "--token", default="", help="One for all jobs, where this host holds no key to sign."
        )
        parser.add_argument(
            "--quick", action="store_true", help="Does not wait for a keepalive in silence."
        )
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            public = public_hop(options["url"])
            hops = [public, *(hop_behind(url, public) for url in options["behind"])]
        except InvalidAddress as error:
            raise CommandError(str(error)) from error
        _require_tables()
        try:
            with _stops_unwind():
                verdicts = self._examine(hops, options)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except (IngestionProgressError, DatabaseFailure) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(report.as_json(verdicts))
        else:
            report.show(verdicts, console_for(self.stdout))
        if any(verdict.has_problem for verdict in verdicts):
            sys.exit(PROBLEMS)

    def _examine(self, hops: list[Hop], options: dict[str, Any]) -> list[Verdict]:
        with MarkedJob() as job:
            examination = Examination(
                job,
                token=options["token"] or _token_for(job),
                is_quick=options["quick"],
                tell=self._teller(),
            )
            return [verdict_on(seen) for seen in examination.run(hops)]

    def _teller(self) -> Callable[[str], None]:
        """Says to a person what takes so long; a pipe gets nothing but the result."""
        if not self.stderr.isatty():
            return lambda text: None
        return lambda text: self.stderr.write(f"… {text}", str)  # as it is: not as an error


@contextmanager
def _stops_unwind() -> Iterator[None]:
    """A signal leaves the block as Ctrl-C does, with what there is to clean up, and the process
    with the exit code that a shell expects. Those that are ignored, as by `nohup`, stay so.
    """
    if threading.current_thread() is not threading.main_thread():  # no other can set a handler
        yield
        return
    handlers = {number: signal.getsignal(number) for number in STOPS}
    before = {number: each for number, each in handlers.items() if each not in UNTOUCHED}

    def stop(number: int, frame: FrameType | None) -> None:
        for each in before:  # a terminal that closes sends more than one
            # Not SIG_IGN: of one that has come already Python would complain.
            signal.signal(each, lambda number, frame: None)
        sys.exit(128 + number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _token_for(job: MarkedJob) -> str:
    """Empty where it cannot be signed here; a public site needs none."""
    try:
        return tokens.mint([job.id, job.unknown_id])[0]
    except TokenKeyMissing:
        return ""


def _require_tables() -> None:
    connection = connections[Job.objects.db]
    try:
        tables = connection.introspection.table_names()
    except DatabaseFailure as error:
        raise CommandError(f"The database does not answer: {str(error).strip()}") from error
    if Job._meta.db_table not in tables:
        raise CommandError("The database has no table of jobs: run manage.py migrate first.")
