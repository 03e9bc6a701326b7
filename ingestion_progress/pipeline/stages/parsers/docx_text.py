"""Follows the XML of a Word document and writes what a reader of its accepted version sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingestion_progress.pipeline.stages.parsers.docx_styles import (
    OFF,
    Styles,
    heading_level,
    level_of,
)
from ingestion_progress.pipeline.stages.parsers.markup import MarkupBuilder
from ingestion_progress.pipeline.stages.parsers.office_text import OfficeText

# Deleted or moved away, codes of fields, readings above words, and what stands for newer elements.
SKIPPED = {"w:del", "w:moveFrom", "w:instrText", "w:delText", "w:delInstrText", "w:rt"}
SKIPPED |= {"w:sdtPr", "mc:Fallback", "w:pPrChange", "w:rPrChange", "w:tblPrChange"}
SKIPPED |= {"w:trPrChange", "w:tcPrChange", "w:sectPrChange", "w:numberingChange"}
NOTES = {"w:footnote", "w:endnote", "w:comment"}
REFERENCES = {f"{note}Reference": note for note in NOTES}
LETTERS = {"w:tab": " ", "w:noBreakHyphen": "-", "w:softHyphen": ""}


@dataclass
class _Paragraph:
    level: int | None = None
    is_list: bool = False
    is_hidden: bool = False
    is_joined: bool = False
    """Its end is deleted."""


class WordText(OfficeText):
    """Writes the events of one part to `markup`.

    `notes`: label and blocks by kind and id; those of this part are added.
    """

    skipped = frozenset(SKIPPED)
    tables: Mapping[str, str] = {"w:tbl": "table", "w:tr": "tr", "w:tc": "td"}

    def __init__(
        self,
        styles: Styles,
        place: Callable[[MarkupBuilder, str, str], None],
        notes: dict[tuple[str, str], tuple[str, str]],
    ) -> None:
        super().__init__(place)
        self._styles, self._notes = styles, notes
        self._paragraphs: list[_Paragraph] = []
        self._is_hidden = False
        self._deleted_rows: list[bool] = []
        self._note = ("", "")
        self._note_count = 0

    @property
    def _is_unseen(self) -> bool:
        return self._is_hidden or bool(self._paragraphs and self._paragraphs[-1].is_hidden)

    def _is_skipped(self, tag: str, attributes: Mapping[str, str], parents: list[str]) -> bool:
        if tag == "w:del":
            self._delete(parents)
        return tag in self.skipped

    def _begin(self, tag: str, attributes: Mapping[str, str], parents: list[str]) -> None:
        if tag == "w:p":
            self.markup.begin_paragraph()
            self._paragraphs.append(_Paragraph())
        elif tag in NOTES or tag == "w:txbxContent":
            self._begin_box(tag, attributes)
        elif parents[-1:] == ["w:pPr"] or parents == ["w:pPr", "w:numPr"]:
            self._format_paragraph(tag, attributes.get("w:val", ""))
        elif parents == ["w:r", "w:rPr"]:
            self._format_run(tag, attributes.get("w:val", ""))
        elif not self._is_unseen:
            self._begin_inline(tag, attributes)

    def _finish(self, tag: str) -> None:
        if tag == "w:p":
            self._end_paragraph()
        elif tag == "w:r":
            self._is_hidden = False
        elif tag == "w:txbxContent":
            self.markup.end_box()
        elif tag in NOTES:
            self._end_note(tag)

    def _delete(self, parents: list[str]) -> None:
        """An empty `w:del` deletes the row, or the end of the paragraph."""
        if parents[-1:] == ["w:trPr"] and self._deleted_rows:
            self._deleted_rows[-1] = True
        elif parents == ["w:pPr", "w:rPr"] and self._paragraphs:
            self._paragraphs[-1].is_joined = True

    def _end_paragraph(self) -> None:
        paragraph = self._paragraphs.pop()
        self._is_hidden = False
        if paragraph.is_joined:
            return
        if paragraph.level:
            self.markup.end_paragraph(f"h{paragraph.level}")
        else:
            self.markup.end_paragraph("li" if paragraph.is_list else "p")

    def _format_paragraph(self, tag: str, value: str) -> None:
        if not self._paragraphs:
            return
        paragraph = self._paragraphs[-1]
        if tag == "w:pStyle":
            paragraph.level = self._styles.heading_level(value)
            paragraph.is_list = self._styles.is_list(value)
            paragraph.is_hidden = self._styles.is_hidden(value)
        elif tag == "w:numId":
            paragraph.is_list = value != "0"
        elif tag == "w:outlineLvl":
            paragraph.level = heading_level(level_of(value))

    def _format_run(self, tag: str, value: str) -> None:
        if tag == "w:vanish":
            self._is_hidden = value not in OFF
        elif tag == "w:rStyle" and self._styles.is_hidden(value):
            self._is_hidden = True

    def _begin_table(self, tag: str) -> None:
        super()._begin_table(tag)
        if tag == "w:tr":
            self._deleted_rows.append(False)

    def _end_table(self, tag: str) -> None:
        if tag == "w:tr":
            self.markup.end_row(is_deleted=self._deleted_rows.pop())
        else:
            super()._end_table(tag)

    def _begin_box(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.markup.begin_box()
        if tag in NOTES:
            self._note = (attributes.get("w:id", ""), attributes.get("w:author", ""))

    def _end_note(self, tag: str) -> None:
        note_id, author = self._note
        label = f"[{author or 'Comment'}]" if tag == "w:comment" else ""
        self._notes[tag, note_id] = (label, self.markup.end_box(is_kept=False))

    def _begin_inline(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag in LETTERS:
            self.markup.add_text(LETTERS[tag])
        elif tag in {"w:br", "w:cr"}:
            self.markup.add_html("<br>")
        elif tag in REFERENCES:
            self._refer(REFERENCES[tag], attributes.get("w:id", ""))

    def _refer(self, kind: str, note_id: str) -> None:
        label, blocks = self._notes.pop((kind, note_id), ("", ""))
        if blocks and not label:
            self._note_count += 1
            label = f"[{self._note_count}]"
            self.markup.add_text(label)
        if blocks:
            self.markup.add_note(label, blocks)
