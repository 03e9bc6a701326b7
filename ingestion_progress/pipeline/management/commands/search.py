"""`manage.py search`: searches the ingested documents."""

import json
import re
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ingestion_progress.exceptions import DATABASE_UNAVAILABLE
from ingestion_progress.exceptions.sentences import translated
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.management.terminal.output import printable, printable_json
from ingestion_progress.management.terminal.text import console_for
from ingestion_progress.pipeline.exceptions import PipelineError
from ingestion_progress.pipeline.management.arguments import language
from ingestion_progress.pipeline.search import MAX_LIMIT, MAX_OFFSET, SearchHit, search
from ingestion_progress.pipeline.search.filters import SearchFilters
from ingestion_progress.tracker import reason_of
from ingestion_progress.web import formatting

SNIPPET_LENGTH = 300
SPACE = re.compile(r"\s+")


class Command(TerminalCommand):
    help = "Searches the ingested documents and shows page, text and entities of each match."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs="+", metavar="WORDS")
        parser.add_argument(
            "--limit", type=int, default=5, help=f"1 to {MAX_LIMIT} (default: %(default)s)."
        )
        parser.add_argument(
            "--offset", type=int, default=0, help="Skip this many first (default: 0)."
        )
        parser.add_argument(
            "--document", action="append", default=[], metavar="ID", help="Only in this document."
        )
        parser.add_argument("--batch", default="", metavar="ID", help="Only in this batch.")
        parser.add_argument(
            "--type",
            action="append",
            default=[],
            dest="media_types",
            metavar="TYPE",
            help="Only this media type, as application/pdf.",
        )
        parser.add_argument(
            "--page", action="append", default=[], type=int, metavar="N", help="Only on this page."
        )
        parser.add_argument(
            "--language",
            action="append",
            default=[],
            type=language,
            metavar="CODE",
            help="Only in this language, as de.",
        )
        parser.add_argument(
            "--dense-weight",
            type=float,
            metavar="W",
            help="From 0 (words only) to 1 (meaning only); default: that of the settings.",
        )
        parser.add_argument(
            "--metadata",
            action="append",
            default=[],
            type=_pair,
            metavar="KEY:VALUE",
            help="Only where the metadata of the job has this.",
        )
        parser.add_argument(
            "--json", action="store_true", help="The matches as the API returns them."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["limit"] <= MAX_LIMIT:
            raise _out_of_range("--limit", 1, MAX_LIMIT)
        if not 0 <= options["offset"] <= MAX_OFFSET:
            raise _out_of_range("--offset", 0, MAX_OFFSET)
        if not 0 <= (options["dense_weight"] or 0) <= 1:
            raise _out_of_range("--dense-weight", 0, 1)
        filters = SearchFilters(
            documents=options["document"],
            batch=options["batch"],
            media_types=options["media_types"],
            pages=options["page"],
            languages=options["language"],
            metadata=options["metadata"],
        )
        query = " ".join(options["words"])
        try:
            hits = search(
                query,
                limit=options["limit"],
                offset=options["offset"],
                filters=filters,
                dense_weight=options["dense_weight"],
            )
        except (PipelineError, *DATABASE_UNAVAILABLE) as error:
            raise CommandError(str(translated(reason_of(error)))) from None
        if options["json"]:
            found = [hit.model_dump(mode="json") for hit in hits]
            self.stdout.write(printable_json(json.dumps(found, ensure_ascii=False)))
            return
        console = console_for(self.stdout)
        if not hits:
            text = gettext("Nothing was found for “%(query)s”.") % {"query": query}
            console.print(printable(text), markup=False)
        for hit in hits:
            _show(hit, query, console)


def _out_of_range(option: str, lowest: int, highest: int) -> CommandError:
    values = {"option": option, "lowest": lowest, "highest": highest}
    text = gettext("%(option)s must be from %(lowest)s to %(highest)s.")
    return CommandError(text % values)


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition(":")
    if not (key and separator):
        raise ArgumentTypeError(f"{text} is not a key and a value, as team:legal.")
    return key, value


def _show(hit: SearchHit, query: str, console: Console) -> None:
    place = [hit.document_name]
    if hit.page:
        place.append(gettext("page %(number)s") % {"number": hit.page})
    if hit.heading:
        place.append(hit.heading)
    score = formatting.decimal(f"{hit.score:.2f}")
    console.print(Text(printable(", ".join(place)), style="bold").append(f"  {score}", style="dim"))
    text = Text(printable(snippet(hit.text, query)))
    text.highlight_regex(_any_word(query), style="yellow")
    _print_indented(text, console)
    if hit.entities:
        entities = gettext("entities: %(names)s") % {"names": ", ".join(hit.entities)}
        _print_indented(Text(printable(entities), style="cyan"), console)


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
