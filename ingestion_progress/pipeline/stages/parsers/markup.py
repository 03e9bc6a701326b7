"""Builds HTML from the paragraphs, tables, notes and text boxes of office documents."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from ingestion_progress.pipeline.exceptions import DamagedDocument
from ingestion_progress.pipeline.stages.parsers.html import TOO_DEEP

MAX_BOXES = 50  # within each other


@dataclass
class _Box:
    """What contains paragraphs: the document, a text box, a note."""

    blocks: list[str] = field(default_factory=list)
    paragraph: list[str] | None = None
    inner: list[str] = field(default_factory=list)
    """The boxes of the open paragraph."""
    notes: list[str] = field(default_factory=list)
    tables: int = 0
    rows: list[int] = field(default_factory=list)
    """Where in `blocks` the open rows begin."""


class MarkupBuilder:
    """Boxes follow the paragraph that has them; notes follow the paragraph or the table."""

    def __init__(self) -> None:
        self._boxes = [_Box()]

    @property
    def html(self) -> str:
        """What has been added so far, without open paragraphs and boxes."""
        return "".join(self._boxes[0].blocks)

    @property
    def is_in_paragraph(self) -> bool:
        return self._boxes[-1].paragraph is not None

    def add_text(self, text: str) -> None:
        self.add_html(escape(text, quote=False))

    def add_html(self, html: str) -> None:
        """Adds to the open paragraph, or a block if none is open."""
        box = self._boxes[-1]
        (box.blocks if box.paragraph is None else box.paragraph).append(html)

    def add_picture(self, source: str, alt: str = "", caption: str = "") -> None:
        self.add_html(f'<img src="{escape(source)}" alt="{escape(alt)}" title="{escape(caption)}">')

    def add_note(self, label: str, blocks: str) -> None:
        """`blocks`: what `end_box` has returned for the note."""
        marked = blocks.replace("<p>", f"<p>{escape(label, quote=False)} ", 1)
        self._boxes[-1].notes.append(marked)

    def begin_paragraph(self) -> None:
        box = self._boxes[-1]
        if box.paragraph is None:
            box.paragraph = []

    def end_paragraph(self, tag: str = "p") -> None:
        box = self._boxes[-1]
        if box.paragraph is None:
            return
        content = "".join(box.paragraph)
        if content.strip():
            box.blocks.append(f"<{tag}>{content}</{tag}>")
        box.blocks += box.inner
        box.inner, box.paragraph = [], None
        self._add_notes(box)

    def begin(self, tag: str) -> None:
        """Begins a table, a row or a cell."""
        self.end_paragraph()
        box = self._boxes[-1]
        box.tables += tag == "table"
        if tag == "tr":
            box.rows.append(len(box.blocks))
        box.blocks.append(f"<{tag}>")

    def end(self, tag: str) -> None:
        self.end_paragraph()
        box = self._boxes[-1]
        box.tables -= tag == "table"
        box.blocks.append(f"</{tag}>")
        self._add_notes(box)

    def end_row(self, *, is_deleted: bool = False) -> None:
        self.end("tr")
        rows = self._boxes[-1].rows
        start = rows.pop() if rows else 0
        if is_deleted:
            del self._boxes[-1].blocks[start:]

    def begin_box(self) -> None:
        if len(self._boxes) > MAX_BOXES:
            raise DamagedDocument(TOO_DEEP)
        self._boxes.append(_Box())

    def end_box(self, *, is_kept: bool = True) -> str:
        """Returns its blocks, and puts them after the open paragraph if they are to be kept."""
        self.end_paragraph()
        html = "".join(self._boxes.pop().blocks)
        if is_kept:
            outer = self._boxes[-1]
            (outer.blocks if outer.paragraph is None else outer.inner).append(html)
        return html

    def _add_notes(self, box: _Box) -> None:
        if not box.tables:
            box.blocks += box.notes
            box.notes = []
