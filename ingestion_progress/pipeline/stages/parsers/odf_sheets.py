"""Reads the sheets of an OpenDocument spreadsheet as lines of text."""

from __future__ import annotations

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.stages.parsers.odf_styles import HiddenStyles
from ingestion_progress.pipeline.stages.parsers.xlsx_sheet import (
    MAX_CELLS,
    MAX_CHARACTERS,
    MAX_GAP,
    SheetTooLarge,
)

CELLS = {"table:table-cell", "table:covered-table-cell"}


class OdfSheets:
    """A cell has the text that it shows, and its comment. What is repeated is written once."""

    def __init__(self) -> None:
        self.found: list[tuple[str, list[str]]] = []
        """Names and lines, which are empty for hidden sheets."""
        self.warnings: list[str] = []
        self._hidden = HiddenStyles()
        self._cells: list[str] = []
        self._gap = 0
        self._repeated = 1
        self._pieces: list[str] = []
        self._is_paragraph = self._is_hidden = False
        self._cells_read = self._characters = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._hidden.start(tag, attributes)
        if tag == "table:table":
            name = attributes.get("table:name", "")
            self.found.append((name, []))
            self._is_hidden = attributes.get("table:style-name") in self._hidden.names
            if self._is_hidden:
                self.warnings.append(
                    StoredSentence("Sheet “%(name)s” is hidden and was left out.", name=name)
                )
        elif tag in CELLS:
            repeated = attributes.get("table:number-columns-repeated", "1")
            is_number = repeated.isascii() and repeated.isdigit() and len(repeated) < 8
            self._repeated = int(repeated) if is_number else 1
        elif tag == "text:p":
            self._is_paragraph = True
        elif tag == "text:s":
            self._pieces.append(" ")

    def end(self, tag: str) -> None:
        if tag in CELLS:
            self._end_cell()
        elif tag == "table:table-row":
            if self._cells and self.found and not self._is_hidden:
                self.found[-1][1].append(" | ".join(self._cells))
            self._cells, self._gap = [], 0
        elif tag == "text:p":
            self._is_paragraph = False
            self._pieces.append(" ")

    def text(self, text: str) -> None:
        if self._is_paragraph:
            self._pieces.append(text)

    def _end_cell(self) -> None:
        value = " ".join("".join(self._pieces).split())
        self._pieces = []
        if not value:
            self._gap += self._repeated
            return
        self._cells += [""] * min(self._gap, MAX_GAP)
        self._cells.append(value)
        self._gap = self._repeated - 1
        self._cells_read += 1
        self._characters += len(value)
        if self._cells_read > MAX_CELLS or self._characters > MAX_CHARACTERS:
            self.end("table:table-row")
            raise SheetTooLarge
