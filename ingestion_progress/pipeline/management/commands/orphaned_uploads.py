"""`manage.py orphaned_uploads`: stored files that belong to no document."""

from typing import Any

from django.core.management.base import CommandParser

from ingestion_progress.management.age import age
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.pipeline.uploads.orphaned_files import delete, orphaned_files


class Command(TerminalCommand):
    help = "Lists files of uploads that belong to no document, and deletes them on request."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--delete", action="store_true")
        parser.add_argument(
            "--older-than",
            type=age,
            default=age("1d"),
            metavar="1d",
            help="Younger ones may be uploads in progress. Default: a day.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for path in orphaned_files(options["older_than"]):
            if options["delete"]:
                delete(path)
            self.stdout.write(path)
