"""`manage.py search`: searches the ingested documents."""

import re
from typing import Any

from django.core.management.base import CommandError, CommandParser
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.management.terminal.output import printable
from ingestion_progress.management.terminal.text import console_for
from ingestion_progress.pipeline.exceptions import PipelineError
from ingestion_progress.pipeline.search import MAX_LIMIT, SearchHit, search

SNIPPET_LENGTH = 300
SPACE = re.compile(r"\s+")


class Command(TerminalCommand):
    help = "Searches the ingested documents and shows page, text and entities of each match."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs="+", metavar="WORDS")
        parser.add_argument(
            "--limit", type=int, default=5, help=f"1 to {MAX_LIMIT} (default: %(default)s)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["limit"] <= MAX_LIMIT:
            raise CommandError(f"--limit must be from 1 to {MAX_LIMIT}.")
        query = " ".join(options["words"])
        try:
            hits = search(query, limit=options["limit"])
        except PipelineError as error:
            raise CommandError(str(error)) from None
        console = console_for(self.stdout)
        if not hits:
            console.print(printable(f"Nothing was found for “{query}”."), markup=False)
        for hit in hits:
            _show(hit, query, console)


def _show(hit: SearchHit, query: str, console: Console) -> None:
    place = [hit.document_name]
    if hit.page:
        place.append(f"page {hit.page}")
    if hit.heading:
        place.append(hit.heading)
    console.print(
        Text(printable(", ".join(place)), style="bold").append(f"  {hit.score:.2f}", style="dim")
    )
    text = Text(printable(snippet(hit.text, query)))
    text.highlight_regex(_any_word(query), style="yellow")
    _print_indented(text, console)
    if hit.entities:
        _print_indented(
            Text(printable(f"entities: {', '.join(hit.entities)}"), style="cyan"), console
        )


def _print_indented(text: Text, console: Console) -> None:
    # Padding wraps lines, which is wrong in a pipe.
    console.print(Padding(text, (0, 0, 0, 2)) if console.is_terminal else Text("  ") + text)


def snippet(text: str, query: str) -> str:
    """The part of a text around the first word of the query."""
    flat = SPACE.sub(" ", text).strip()
    match = _any_word(query).search(flat)
    start = max(0, match.start() - SNIPPET_LENGTH // 3) if match else 0
    start = flat.find(" ", start) + 1 if start else 0
    part = flat[start : start + SNIPPET_LENGTH]
    return f"{'…' if start else ''}{part}{'…' if start + len(part) < len(flat) else ''}"


def _any_word(query: str) -> re.Pattern[str]:
    words = [re.escape(word) for word in re.findall(r"\w{3,}", query)]
    return re.compile(rf"\b(?:{'|'.join(words)})" if words else r"(?!)", re.IGNORECASE)
