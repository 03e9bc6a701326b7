"""Follows the XML of an OpenDocument text or presentation, and writes what a reader sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape

from ingestion_progress.pipeline.stages.parsers.element_path import ElementPath
from ingestion_progress.pipeline.stages.parsers.embedded_parts import EMBEDDED
from ingestion_progress.pipeline.stages.parsers.markup import MarkupBuilder
from ingestion_progress.pipeline.stages.parsers.odf_styles import HiddenStyles

SKIPPED = {"text:tracked-changes", "text:hidden-text", "text:hidden-paragraph", "text:ruby-text"}
SKIPPED |= {"office:scripts", "office:forms", "table:covered-table-cell", "number:text"}
SKIPPED |= {"text:page-number"}
TABLE = {"table:table": "table", "table:table-row": "tr", "table:table-cell": "td"}
STYLED = ("text:style-name", "draw:style-name", "table:style-name")
PARAGRAPHS = {"text:p", "text:h"}
BOXES = {"draw:text-box", "text:note-body", "office:annotation", "style:header", "style:footer"}
PICTURE_WORDS = {"svg:title", "svg:desc"}
ANNOTATOR = ["office:annotation", "creator"]
MAX_SPACES = 100


@dataclass
class OdfPage:
    """A slide, or the whole of a text."""

    markup: MarkupBuilder = field(default_factory=MarkupBuilder)
    title: str = ""

    @property
    def html(self) -> str:
        heading = f"<h1>{escape(self.title, quote=False)}</h1>" if self.title else ""
        return heading + self.markup.html


class OdfText:
    """`object_text` gets the address of an embedded object, and returns its words."""

    def __init__(self, object_text: Callable[[str], str]) -> None:
        self.pages = [OdfPage()]
        self.headers: dict[str, None] = {}
        self.footers: dict[str, None] = {}
        self._object_text = object_text
        self._hidden = HiddenStyles()
        self._path = ElementPath()
        self._levels: list[str] = []
        """The HTML tags of the open paragraphs."""
        self._list_items = 0
        self._frames: list[dict[str, str]] = []
        self._is_title = False
        self._label = ""

    @property
    def _markup(self) -> MarkupBuilder:
        return self.pages[-1].markup

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._path.start(tag):
            return
        self._hidden.start(tag, attributes)
        if self._is_unseen(tag, attributes):
            self._path.skip()
        elif tag in PARAGRAPHS:
            self._begin_paragraph(tag, attributes)
        elif tag in TABLE:
            self._markup.begin(TABLE[tag])
        elif tag in BOXES:
            self._markup.begin_box()
            self._label = "" if tag == "office:annotation" else self._label
        elif tag.startswith("draw:"):
            self._begin_drawing(tag, attributes)
        else:
            self._begin_inline(tag, attributes)

    def end(self, tag: str) -> None:
        if not self._path.end():
            return
        if tag in PARAGRAPHS:
            self._end_paragraph()
        elif tag == "table:table-row":
            self._markup.end_row()
        elif tag in TABLE:
            self._markup.end(TABLE[tag])
        elif tag in BOXES:
            self._end_box(tag)
        elif tag == "draw:frame":
            self._end_frame()
        elif tag == "text:list-item":
            self._list_items -= 1

    def text(self, text: str) -> None:
        if not self._path.is_read:
            return
        tag = self._path.tags[-1]
        if tag in PICTURE_WORDS:
            if self._frames:
                self._frames[-1][tag] = self._frames[-1].get(tag, "") + text
        elif tag == "text:note-citation" or self._path.tags[-2:] == ANNOTATOR:
            self._label = text
        elif self._is_title and self._levels:
            self.pages[-1].title += text
        elif self._levels and self._markup.is_in_paragraph:
            self._markup.add_text(text)

    def _is_unseen(self, tag: str, attributes: Mapping[str, str]) -> bool:
        styles = {attributes[name] for name in STYLED if name in attributes}
        is_section = tag == "text:section" and attributes.get("text:display") == "none"
        return tag in SKIPPED or is_section or not self._hidden.names.isdisjoint(styles)

    def _begin_paragraph(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._markup.begin_paragraph()
        level = attributes.get("text:outline-level", "1")
        is_level = level.isascii() and level.isdigit() and level != "0"
        if tag == "text:h":
            self._levels.append(f"h{min(int(level), 6) if is_level and len(level) < 3 else 6}")
        else:
            self._levels.append("li" if self._list_items else "p")

    def _end_paragraph(self) -> None:
        self._markup.end_paragraph(self._levels.pop() if self._levels else "p")
        if self._is_title:
            self.pages[-1].title += " "

    def _begin_inline(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "text:list-item":
            self._list_items += 1
        elif tag == "text:s":
            count = attributes.get("text:c", "1")
            is_number = count.isascii() and count.isdigit() and len(count) < 4
            self._markup.add_text(" " * min(int(count) if is_number else 1, MAX_SPACES))
        elif tag == "text:tab":
            self._markup.add_text(" ")
        elif tag == "text:line-break":
            self._markup.add_html("<br>")

    def _begin_drawing(self, tag: str, attributes: Mapping[str, str]) -> None:
        address = attributes.get("xlink:href", "")
        if tag == "draw:page":
            if self._markup.html or self.pages[-1].title or len(self.pages) > 1:
                self.pages.append(OdfPage())
            self._is_title = False
        elif tag == "draw:frame":
            self._frames.append({})
            self._is_title = attributes.get("presentation:class") == "title"
        elif tag == "draw:image" and self._frames:
            self._frames[-1].setdefault("image", address)
        elif tag == "draw:object" and self._frames:
            self._frames[-1]["object"] = address

    def _end_frame(self) -> None:
        frame = self._frames.pop() if self._frames else {}
        self._is_title = False
        alt = frame.get("svg:desc") or frame.get("svg:title", "")
        if words := self._object_text(frame["object"]) if "object" in frame else "":
            self._markup.begin_box()
            self._markup.begin_paragraph()
            self._markup.add_text(words)
            self._markup.end_box()
        elif address := frame.get("image"):
            is_linked = ":" in address
            self._markup.add_picture(address if is_linked else f"{EMBEDDED}{address}", alt)

    def _end_box(self, tag: str) -> None:
        blocks = self._markup.end_box(is_kept=tag == "draw:text-box")
        if tag == "style:header":
            self.headers[blocks] = None
        elif tag == "style:footer":
            self.footers[blocks] = None
        elif tag != "draw:text-box" and blocks:
            label = f"[{self._label or 'Comment'}]"
            if tag == "text:note-body":
                self._markup.add_text(label)
            self._markup.add_note(label, blocks)
