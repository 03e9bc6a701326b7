"""`manage.py doctor URL`: checks how streams get through the proxies in front of the site."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error as DatabaseFailure
from django.db import connections

from ingestion_progress.auth import tokens
from ingestion_progress.exceptions import IngestionProgressError, TokenKeyMissing
from ingestion_progress.management.doctor import report
from ingestion_progress.management.doctor.endpoints import Endpoint
from ingestion_progress.management.doctor.probe_job import ProbeJob
from ingestion_progress.management.doctor.run import ProbeRun
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.management.terminal.output import printable
from ingestion_progress.management.terminal.text import console_for
from ingestion_progress.models import Job

PROBLEMS, INTERRUPTED = 1, 130
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Command(TerminalCommand):
    help = (
        "Sends a job through the public address of the site, and says what is wrong on the way and "
        "what to set. Run it where manage.py has the settings and the database of the site. "
        "Exit code: 0 no problem, 1 a problem."
    )

    # Since Django 6.1 they query the database; `_require_tables` says more if that fails.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("url", metavar="URL", help="As in a browser, without /api/….")
        parser.add_argument(
            "--behind",
            action="append",
            default=[],
            metavar="URL",
            help="An address behind it, such as that of the application server, to find where a "
            "fault arises. Repeatable, from the outside in.",
        )
        parser.add_argument(
            "--token", default="", help="One for all jobs, if this host has no key to sign one."
        )
        parser.add_argument("--quick", action="store_true", help="Does not wait for a keep-alive.")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        public = Endpoint.parse(options["url"])
        behind = [Endpoint.parse(url, front=public) for url in options["behind"]]
        _require_tables()
        try:
            with _exit_on_signals(), ProbeJob() as job:
                token, is_quick = options["token"] or _token_for(job), options["quick"]
                run = ProbeRun(job=job, token=token, is_quick=is_quick, log=self._log)
                reports = [report.report_on(result) for result in run.run([public, *behind])]
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except (IngestionProgressError, DatabaseFailure) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(report.as_json(reports))
        else:
            report.show(reports, console_for(self.stdout))
        if any(each.has_problem for each in reports):
            sys.exit(PROBLEMS)

    def _log(self, text: str) -> None:
        if self.stderr.isatty():
            self.stderr.write(printable(f"… {text}"), str)  # `str`: not styled as an error


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise SystemExit, which removes the probe job as Ctrl-C does.

    Ignored signals stay ignored, as under `nohup`, and so do handlers not set by Python (None).
    """
    is_main_thread = threading.current_thread() is threading.main_thread()
    handlers = {each: signal.getsignal(each) for each in STOP_SIGNALS if is_main_thread}
    previous = {n: each for n, each in handlers.items() if each not in {signal.SIG_IGN, None}}

    def stop(number: int, frame: FrameType | None) -> None:
        for each in previous:  # a closing terminal sends several
            # With SIG_IGN Python would report a signal that has already arrived.
            signal.signal(each, lambda number, frame: None)
        sys.exit(128 + number)

    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _token_for(job: ProbeJob) -> str:
    """Empty without a key to sign it; a public site needs none."""
    try:
        return tokens.issue([job.id, job.unknown_id])[0]
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
