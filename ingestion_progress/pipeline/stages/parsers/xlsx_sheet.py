"""Reads the rows of a sheet as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from ingestion_progress.pipeline.stages.parsers.xlsx_cells import CellFormats

DIGITS = "0123456789"
MAX_CELLS = 1_000_000
# A long text may be shared by any number of cells.
MAX_CHARACTERS = 20_000_000
# Empty cells before a cell, which are shown so that columns can be told apart.
MAX_GAP = 30


class SheetTooLarge(Exception):
    """It has more than its limits. What was read before stays."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = {"cells": f"{MAX_CELLS:,}", "characters": f"{MAX_CHARACTERS:,}"}


class SheetRows:
    def __init__(self, strings: Sequence[str], formats: CellFormats, *, is_1904: bool) -> None:
        self.lines: list[str] = []
        self._strings, self._formats, self._is_1904 = strings, formats, is_1904
        self._cells: list[str] = []
        self._cell: dict[str, str] = {}
        self._pieces: list[str] = []
        self._columns = _Columns()
        self._column = 0
        """The column of the last cell, from 1."""
        self._is_value = False
        self._is_phonetic = False
        self._cells_read = self._characters = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._is_value = False
        if tag == "s:c":
            self._cell = attributes
        elif tag in {"s:v", "s:t"}:
            self._is_value = not self._is_phonetic
        elif tag == "s:rPh":
            self._is_phonetic = True

    def end(self, tag: str) -> None:
        self._is_value = False
        if tag == "s:c":
            self._end_cell()
        elif tag == "s:rPh":
            self._is_phonetic = False
        elif tag == "s:row":
            if self._cells:
                self.lines.append(" | ".join(self._cells))
            self._cells = []
            self._column = 0

    def text(self, text: str) -> None:
        if self._is_value:
            self._pieces.append(text)

    def _end_cell(self) -> None:
        raw = "".join(self._pieces)
        self._pieces = []
        column = self._columns[self._cell.get("r", "").rstrip(DIGITS)] or self._column + 1
        value = self._value(raw) if raw else ""
        if not value:
            return
        if column > self._column + 1:
            self._cells += [""] * min(column - self._column - 1, MAX_GAP)
        self._cells.append(value)
        self._column = column
        self._cells_read += 1
        self._characters += len(value)
        if self._cells_read > MAX_CELLS or self._characters > MAX_CHARACTERS:
            self.end("s:row")
            raise SheetTooLarge

    def _value(self, raw: str) -> str:
        kind = self._cell.get("t", "n")
        if kind == "s":
            index = int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 10 else -1
            return self._strings[index] if 0 <= index < len(self._strings) else ""
        if kind == "b":
            return "TRUE" if raw == "1" else "FALSE"
        if kind == "n":
            return self._formats.formatted(raw, self._cell.get("s", ""), is_1904=self._is_1904)
        return "" if kind == "e" else " ".join(raw.split())  # not the error of a formula


class Comments:
    """Lines such as `B2: a comment`."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._cell = ""
        self._pieces: list[str] = []
        self._is_text = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._is_text = tag == "s:t"
        if tag == "s:comment":
            self._cell = attributes.get("ref", "")

    def end(self, tag: str) -> None:
        self._is_text = False
        if tag == "s:comment":
            text = " ".join("".join(self._pieces).split())
            self.lines.append(f"{self._cell}: {text}")
            self._pieces = []

    def text(self, text: str) -> None:
        if self._is_text:
            self._pieces.append(text)


class _Columns(dict[str, int]):
    """3 for `C`; 0 for what is no column."""

    def __missing__(self, letters: str) -> int:
        number = 0
        if letters.isascii() and letters.isalpha() and len(letters) <= 3:
            for letter in letters.upper():
                number = number * 26 + ord(letter) - 64
            self[letters] = number
        return number
