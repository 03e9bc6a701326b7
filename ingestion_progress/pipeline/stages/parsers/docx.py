"""Parses Word documents: converts their parts to HTML, and that to text."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from html import escape
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.encodings import decode
from ingestion_progress.pipeline.exceptions import EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.docx_styles import Styles
from ingestion_progress.pipeline.stages.parsers.docx_text import WordText
from ingestion_progress.pipeline.stages.parsers.embedded_parts import EmbeddedParts
from ingestion_progress.pipeline.stages.parsers.html import body_of, html_page
from ingestion_progress.pipeline.stages.parsers.mail import html_of
from ingestion_progress.pipeline.stages.parsers.markup import MarkupBuilder
from ingestion_progress.pipeline.stages.parsers.ooxml import Package, Relationship

NOTES = {"footnotes", "endnotes", "comments"}
WEB_ARCHIVES = (".mht", ".mhtml")
HTML = (".htm", ".html", ".xhtml")
# The largest embedded text.
MAX_TEXT_BYTES = 20 * 1024 * 1024


class DocxParser:
    def open(self, file: BinaryIO, name: str) -> list[Page]:
        document = _WordDocument(Package(file, name))
        page = document.page()
        if not page.text and not page.pictures:
            raise EmptyDocument(StoredSentence("“%(name)s” has no text.", name=name))
        return [replace(page, warnings=tuple(document.warnings))]


class _WordDocument:
    def __init__(self, package: Package) -> None:
        self.warnings: list[str] = []
        self._package = package
        self._parts = EmbeddedParts(package)
        self._main = package.main_part()
        self._styles = Styles()
        self._notes: dict[tuple[str, str], tuple[str, str]] = {}

    def page(self) -> Page:
        return html_page(self._html(), self._parts.pictures)

    def _html(self) -> str:
        """Page headers, text and page footers, each once."""
        related = self._package.relationships(self._main)
        for relationship in related.values():
            if relationship.kind == "styles":
                self._package.read(relationship.target, self._styles)
        for relationship in related.values():
            if relationship.kind in NOTES:
                self._html_of(relationship.target)
        text = self._html_of(self._main, related)
        headers, footers = (self._distinct(related, kind) for kind in ("header", "footer"))
        return "".join([*headers, text, *footers])

    def _distinct(self, related: dict[str, Relationship], kind: str) -> dict[str, None]:
        """Without those that have only a number."""
        parts = dict.fromkeys(each.target for each in related.values() if each.kind == kind)
        found = dict.fromkeys(self._html_of(part) for part in parts)
        return {html: None for html in found if any(map(str.isalpha, html_page(html).text))}

    def _html_of(self, part: str, related: dict[str, Relationship] | None = None) -> str:
        if related is None:
            related = self._package.relationships(part)
        reader = WordText(self._styles, partial(self._place, related), self._notes)
        self._package.read(part, reader)
        return reader.markup.html

    def _place(
        self, related: dict[str, Relationship], markup: MarkupBuilder, key: str, alt: str
    ) -> None:
        relationship = related.get(key)
        if relationship is not None and relationship.kind == "aFChunk":
            markup.add_html(self._embedded_text(relationship.target))
        else:
            self._parts.place(related, markup, key, alt)

    def _embedded_text(self, part: str) -> str:
        data = self._package.head(part, MAX_TEXT_BYTES)
        if part.lower().endswith(HTML):
            return f"<div>{body_of(decode(data, is_markup=True).text)}</div>"
        if part.lower().endswith(".txt"):
            lines = escape(decode(data).text, quote=False).splitlines()
            return "".join(f"<p>{line}</p>" for line in lines)
        if part.lower().endswith(WEB_ARCHIVES):
            return html_of(data)
        self.warnings.append(
            StoredSentence("A document that is embedded in this one was left out.")
        )
        return ""
