"""Follows the XML of a slide, or of its notes, and writes what a viewer sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import escape, unescape

from ingestion_progress.pipeline.stages.parsers.markup import MarkupBuilder
from ingestion_progress.pipeline.stages.parsers.office_text import OfficeText

TITLES = {"title", "ctrTitle"}
# Numbers, dates and footers that are the same on each slide, and the picture of a slide in notes.
REPEATED = {"sldNum", "dt", "ftr", "hdr", "sldImg"}
LISTS = {"body", "obj", ""}
SHAPES = {"p:sp", "p:pic", "p:graphicFrame", "p:cxnSp", "p:grpSp"}
TAG = re.compile("<[^>]*>")
OFF = {"0", "false"}


class SlideText(OfficeText):
    tables: Mapping[str, str] = {"a:tbl": "table", "a:tr": "tr", "a:tc": "td"}

    def __init__(self, place: Callable[[MarkupBuilder, str, str], None]) -> None:
        super().__init__(place)
        self.title = ""
        self.is_hidden = False
        self._body = self.markup
        self._titles = MarkupBuilder()
        self._placeholder: str | None = None
        """The kind of the shape that is being read; None if it is no placeholder."""
        self._is_list = False

    @property
    def html(self) -> str:
        """The title first, whatever its place in the file."""
        heading = f"<h1>{escape(self.title, quote=False)}</h1>" if self.title else ""
        return heading + self._body.html

    def add_line(self, text: str) -> None:
        self._body.begin_paragraph()
        self._body.add_text(text)
        self._body.end_paragraph()

    @property
    def _is_unseen(self) -> bool:
        return self._placeholder in REPEATED

    def _is_skipped(self, tag: str, attributes: Mapping[str, str], parents: list[str]) -> bool:
        is_number = tag == "a:fld" and attributes.get("type") == "slidenum"
        return is_number or tag in self.skipped

    def _begin(self, tag: str, attributes: Mapping[str, str], parents: list[str]) -> None:
        if tag == "p:sld":
            self.is_hidden = attributes.get("show", "1") in OFF
        elif tag in SHAPES:
            self._placeholder = None
        elif tag == "p:ph":
            self._placeholder = attributes.get("type", "")
            self.markup = self._titles if self._placeholder in TITLES else self._body
        elif tag == "a:p":
            self.markup.begin_paragraph()
            self._is_list = self._placeholder in LISTS
        elif tag == "a:buNone":
            self._is_list = False
        elif tag == "a:br":
            self.markup.add_html("<br>")

    def _finish(self, tag: str) -> None:
        if tag == "a:p":
            self.markup.end_paragraph("li" if self._is_list else "p")
        elif tag in SHAPES:
            self._placeholder = None
            self.markup = self._body
        elif tag == "p:sld":
            self.title = " ".join(unescape(TAG.sub(" ", self._titles.html)).split())
