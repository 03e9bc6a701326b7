"""Parses OpenDocument: texts, presentations (a page for each slide) and spreadsheets."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import EmptyDocument, ProtectedDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.embedded_parts import Pictures
from ingestion_progress.pipeline.stages.parsers.html import html_page
from ingestion_progress.pipeline.stages.parsers.odf_sheets import OdfSheets
from ingestion_progress.pipeline.stages.parsers.odf_text import OdfText
from ingestion_progress.pipeline.stages.parsers.ooxml import Package
from ingestion_progress.pipeline.stages.parsers.xlsx_sheet import SheetTooLarge

CONTENT, STYLES, MANIFEST = "content.xml", "styles.xml", "META-INF/manifest.xml"


class OdfTextParser:
    """Page headers, text and page footers."""

    def open(self, file: BinaryIO, name: str) -> list[Page]:
        document = _Document(file, name)
        styles, text = document.read(STYLES), document.read(CONTENT)
        blocks = [*styles.headers, *(each.html for each in text.pages), *styles.footers]
        page = html_page("".join(blocks), document.pictures)
        if not page.text and not page.pictures:
            raise EmptyDocument(StoredSentence("“%(name)s” has no text.", name=name))
        return [page]


class OdfPresentationParser:
    def open(self, file: BinaryIO, name: str) -> list[Page]:
        document = _Document(file, name)
        pages = [
            replace(
                html_page(each.html, document.pictures), number=number, heading=each.title.strip()
            )
            for number, each in enumerate(document.read(CONTENT).pages, start=1)
        ]
        if not any(page.text or page.pictures for page in pages):
            raise EmptyDocument(StoredSentence("“%(name)s” has no slides with text.", name=name))
        return pages


class OdfSpreadsheetParser:
    def open(self, file: BinaryIO, name: str) -> list[Page]:
        document = _Document(file, name)
        sheets = OdfSheets()
        warnings = []
        try:
            document.package.read(CONTENT, sheets)
        except SheetTooLarge as error:
            warnings.append(
                StoredSentence(
                    "The spreadsheet has more than %(cells)s cells or %(characters)s characters: "
                    "the rest was left out.",
                    **error.limits,
                )
            )
        pages = [
            Page(number=number, heading=title, text="\n".join([title, "", *lines]))
            for number, (title, lines) in enumerate(sheets.found, start=1)
            if lines
        ]
        if not pages:
            raise EmptyDocument(StoredSentence("“%(name)s” has no cell with text.", name=name))
        pages[0] = replace(pages[0], warnings=(*warnings, *sheets.warnings))
        return pages


class _Document:
    """Raises ProtectedDocument if it needs a password."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.package = Package(file, name)
        self.pictures = Pictures(self.package)
        manifest = _Manifest()
        self.package.read(MANIFEST, manifest)
        if manifest.is_encrypted:
            raise ProtectedDocument(
                StoredSentence(
                    "“%(name)s” is protected by a password. Save it without one and try again.",
                    name=name,
                )
            )

    def read(self, part: str) -> OdfText:
        reader = OdfText(self._object_text)
        self.package.read(part, reader)
        return reader

    def _object_text(self, address: str) -> str:
        """The words of a chart, or a formula as its author has written it."""
        found = _ObjectText()
        self.package.read(posixpath.join(posixpath.normpath(address), CONTENT), found)
        return found.formula or "; ".join(dict.fromkeys(found.lines))


class _Manifest:
    def __init__(self) -> None:
        self.is_encrypted = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.is_encrypted |= tag == "manifest:encryption-data"

    def end(self, tag: str) -> None: ...

    def text(self, text: str) -> None: ...


class _ObjectText:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.formula = ""
        self._pieces: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in {"text:p", "annotation"}:
            self._pieces = []

    def end(self, tag: str) -> None:
        text = " ".join("".join(self._pieces).split())
        if tag == "annotation":
            self.formula = text
        elif tag == "text:p" and text:
            self.lines.append(text)

    def text(self, text: str) -> None:
        self._pieces.append(text)
