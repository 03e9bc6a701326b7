"""`manage.py stream_token`: a token for `?token=` of a stream."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ingestion_progress.auth import tokens
from ingestion_progress.exceptions import IngestionProgressError
from ingestion_progress.management.terminal.command import TerminalCommand


class Command(TerminalCommand):
    help = "Prints a token that lets its bearer watch jobs for some minutes, and do nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("jobs", nargs="*", metavar="JOB_ID", help="A job need not exist yet.")
        parser.add_argument("--all", action="store_true", help="Every job, also later ones.")
        parser.add_argument("--minutes", type=float, help="Its lifetime (default: TOKEN_MINUTES).")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["jobs"]) == options["all"]:
            raise CommandError("Name the jobs, or say --all.")
        jobs = None if options["all"] else options["jobs"]
        try:
            text, _ = tokens.issue(jobs, minutes=options["minutes"])
        except IngestionProgressError as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(text)
