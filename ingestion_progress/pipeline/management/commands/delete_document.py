"""`manage.py delete_document`: deletes documents with all that was made of them."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.management.terminal.output import printable
from ingestion_progress.pipeline.deletion import delete_document
from ingestion_progress.pipeline.exceptions import PipelineError


class Command(TerminalCommand):
    help = (
        "Deletes documents with their files, chunks and graph: a search no longer finds them. "
        "Their jobs stay. Exit code 1 if one could not be deleted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("documents", nargs="+", metavar="DOCUMENT_ID")

    def handle(self, *args: Any, **options: Any) -> None:
        refused = 0
        for document_id in options["documents"]:
            try:
                delete_document(document_id)
            except PipelineError as error:
                self.stderr.write(str(error))
                refused += 1
            else:
                self.stdout.write(printable(f"{document_id} is deleted."))
        if refused:
            raise CommandError(f"Not deleted: {refused}")
