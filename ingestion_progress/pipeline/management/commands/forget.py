"""`manage.py forget`: deletes documents with all that was made of them."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet
from django.utils.translation import gettext

from ingestion_progress.exceptions import IngestionProgressError
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.management.terminal.output import printable
from ingestion_progress.management.terminal.user import command_user
from ingestion_progress.models import Job
from ingestion_progress.pipeline.documents.deletion import delete_document
from ingestion_progress.pipeline.models import Document


class Command(TerminalCommand):
    help = (
        "Deletes documents with their files, chunks and graph: a search no longer finds them. "
        "Their jobs stay; those that wait or run are cancelled. Can be repeated. Exit code 1 if "
        "one does not exist or could not be deleted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("documents", nargs="*", metavar="DOCUMENT", help="Ids of documents.")
        parser.add_argument(
            "--name", action="append", default=[], help="All documents with this file name."
        )
        parser.add_argument(
            "--batch", action="append", default=[], help="The documents of the jobs of a batch."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = [*options["documents"], *options["name"], *options["batch"]]
        if not chosen:
            raise CommandError(gettext("Name a document, or use --name or --batch."))
        refused = 0
        found = dict.fromkeys([*options["documents"], *self._found(options)])
        for document_id in found:
            name = Document.objects.filter(pk=document_id).values_list("name", flat=True).first()
            try:
                delete_document(document_id, by=command_user())
            except IngestionProgressError as error:
                self.stderr.write(error.translated())
                refused += 1
            else:
                text = gettext("%(name)s is deleted (%(document)s).")
                self.stdout.write(printable(text % {"name": name, "document": document_id}))
        if refused:
            raise CommandError(gettext("Not deleted: %(number)s") % {"number": refused})
        if not found:
            raise CommandError(gettext("There is no such document."))

    def _found(self, options: dict[str, Any]) -> Iterator[str]:
        """The ids of the documents that `--name` and `--batch` choose."""
        documents = Document.objects.order_by("pk")
        yield from ids(documents.filter(name__in=options["name"]))
        jobs = Job.objects.filter(batch__in=filter(None, options["batch"]))
        of_batches = list(jobs.values_list("document_id", flat=True).distinct())
        yield from ids(documents.filter(pk__in=of_batches))


def ids(documents: QuerySet[Document]) -> list[str]:
    return list(documents.values_list("pk", flat=True))
