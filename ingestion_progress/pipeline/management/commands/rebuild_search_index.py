"""`manage.py rebuild_search_index`: rebuilds the search index from its texts."""

from typing import Any

from django.core.management.base import CommandError

from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import PipelineError
from ingestion_progress.pipeline.search.rebuild import is_former, rebuild_search_index


class Command(TerminalCommand):
    help = (
        "Rebuilds the search index from the texts that it stores: after an update that changes "
        "its format, or how texts are searched. The documents are not read again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            was_former = is_former()
            count = rebuild_search_index(self._show)
        except PipelineError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"{count:,} {'chunk was' if count == 1 else 'chunks were'} indexed again."
        )
        if was_former:
            folder = conf.qdrant_path / "collection"
            self.stdout.write(f"The former index is not used any more: you may delete {folder}.")

    def _show(self, count: int) -> None:
        if count and count % 10_240 == 0:
            self.stdout.write(f"{count:,} chunks …")
