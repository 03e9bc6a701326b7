"""Words of PDFs that the parser finds, beside pdftotext: `python -m benchmarks.pdf_text FOLDER`.

Compares page by page each PDF in the folder, of which `--pages` are read. A word that pdftotext
(poppler-utils) has and the parser has not is one of these:

- repeated: the parser has left it out as a header or footer,
- divided: its letters are there, but spaces or hyphens divide them differently,
- missing: none of both. `--missing` prints them.

A letter of a script without spaces is a word. JSON goes to `var/bench/results/`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from benchmarks.processes import ROOT
from benchmarks.search import set_up

if TYPE_CHECKING:
    from ingestion_progress.pipeline.stages import Pages

PAGES = 60
# Fewer words say nothing about a maker.
MIN_WORDS = 20
SHOWN = 12
WITHOUT_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{WITHOUT_SPACES}]|(?:(?![{WITHOUT_SPACES}])[^\W_])+")


class WithoutOcr:
    """The parser of PDFs where the extra `ocr` is not installed: pdftotext has no OCR either."""

    def open(self, file: BinaryIO, name: str) -> Pages:
        from ingestion_progress.pipeline.stages.parsers import ocr
        from ingestion_progress.pipeline.stages.parsers.pdf import PdfParser

        ocr.is_available = lambda: False
        return PdfParser().open(file, name)


class WithHeaders(WithoutOcr):
    """A text with the headers and footers that repeat."""

    def open(self, file: BinaryIO, name: str) -> Pages:
        from ingestion_progress.pipeline.stages.parsers import pdf

        pdf.without_headers_and_footers = lambda texts, index: texts[index]
        return super().open(file, name)


@dataclass
class Compared:
    """A PDF: words of pdftotext, and what became of them."""

    name: str
    maker: str = ""
    pages: int = 0
    words: int = 0
    repeated: int = 0
    divided: int = 0
    missing: int = 0
    refused: str = ""
    missing_by_page: dict[int, list[str]] = field(default_factory=dict)

    @property
    def found_percent(self) -> float:
        """The percentage that was found of the words that are not repeated on other pages."""
        kept = self.words - self.repeated
        return 100 * (1 - (self.divided + self.missing) / kept) if kept else 100.0

    def add(self, number: int, theirs: str, ours: str, whole: str) -> None:
        """A page. `whole` is our text with headers and footers."""
        wanted, found, read = (Counter(words(text)) for text in (theirs, ours, whole))
        lost = wanted - found
        repeated = lost & (read - found)
        letters = "".join(words(ours))
        rest = lost - repeated
        divided = Counter({word: count for word, count in rest.items() if word in letters})
        missing = rest - divided
        self.pages += 1
        self.words += wanted.total()
        self.repeated += repeated.total()
        self.divided += divided.total()
        self.missing += missing.total()
        if missing:
            self.missing_by_page[number] = list(missing)


def words(text: str) -> list[str]:
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("\u00ad", ""))


def texts_of_pdftotext(path: Path, pages: int) -> list[str]:
    command = ["pdftotext", "-enc", "UTF-8", "-l", str(pages), str(path), "-"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    return done.stdout.decode("utf-8", "replace").split("\f")[:-1]


def maker_of(path: Path) -> str:
    done = subprocess.run(["pdfinfo", str(path)], capture_output=True, timeout=60, check=False)
    found = dict(
        re.findall(
            r"^(Producer|Creator):\s+(.+)$", done.stdout.decode("utf-8", "replace"), re.MULTILINE
        )
    )
    return found.get("Producer") or found.get("Creator", "")


def compared(path: Path, pages: int) -> Compared:
    from ingestion_progress.pipeline.exceptions import UnreadableDocument

    result = Compared(name=path.name, maker=maker_of(path))
    theirs = texts_of_pdftotext(path, pages)
    try:
        ours, whole = (
            texts_of_parser(path, len(theirs), each) for each in (WithoutOcr, WithHeaders)
        )
        for number, texts in enumerate(zip(theirs, ours, whole, strict=False), start=1):
            result.add(number, *texts)
    except UnreadableDocument as error:
        result.refused = str(error)
    return result


def texts_of_parser(path: Path, pages: int, parser: type[WithoutOcr]) -> Iterator[str]:
    """As a worker reads them, in a separate process. Empty for a page that cannot be read."""
    from ingestion_progress.pipeline.exceptions import UnreadablePage
    from ingestion_progress.pipeline.parser_process.pages import ParsedPages

    name = f"benchmarks.pdf_text.{parser.__name__}"
    with path.open("rb") as file, ParsedPages(name, file, path.name) as found:
        for index in range(min(pages, len(found))):
            try:
                yield found[index].text
            except UnreadablePage:
                yield ""


def table(found: list[Compared]) -> str:
    lines = [
        "| PDF | pages | words | found % | repeated | divided | missing | maker |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        figures = f"{each.pages} | {each.words:,} | {each.found_percent:.1f}"
        counts = f"{each.repeated} | {each.divided} | {each.missing}"
        maker = each.refused or each.maker.replace("|", " ")[:40]
        lines.append(f"| {each.name} | {figures} | {counts} | {maker} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", type=int, default=PAGES, help=f"of each PDF; default: {PAGES}")
    parser.add_argument("--missing", action="store_true", help="print missing words by page")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as name:
        set_up(Path(name))
        paths = sorted(options.folder.glob("*.pdf"))
        every = [compared(path, options.pages) for path in paths]
    found = sorted(
        (each for each in every if each.words >= MIN_WORDS), key=lambda each: each.found_percent
    )
    print(table(found))
    if options.missing:
        for each in found:
            for number, missing in each.missing_by_page.items():
                print(f"{each.name}, page {number}: {' '.join(missing[:SHOWN])}")
    wanted = sum(each.words - each.repeated for each in found)
    lost = sum(each.divided + each.missing for each in found)
    print(f"{len(found)} PDFs, {100 * (1 - lost / max(1, wanted)):.2f} % of {wanted:,} words found")
    now = datetime.now(tz=UTC)
    result = {
        "kind": "pdf-text",
        "title": "words of pdftotext that the parser finds",
        "at": now.isoformat(timespec="seconds"),
        "packages": {"pypdfium2": version("pypdfium2")},
        "pages": options.pages,
        "documents": [asdict(each) for each in found],
    }
    path = ROOT / "var" / "bench" / "results" / f"{now:%Y-%m-%d}-pdf-text.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    sys.stderr.write(f"{path.relative_to(ROOT)} has the details.\n")


if __name__ == "__main__":
    main()
