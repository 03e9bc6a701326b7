"""Reads the shared texts of a workbook, and formats the numbers of its cells."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

# The numbers of the formats of dates that every workbook has, whatever their language.
DATES = {*range(14, 23), *range(27, 37), 45, 46, 47, *range(50, 59)}
PERCENTAGES = {9, 10}
# Text in a format, colours and conditions; but `[h]` are hours.
LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
DATE_LETTERS = re.compile(r"[dmyhs]", re.IGNORECASE)
NUMBER, PERCENTAGE, DATE = "number", "percentage", "date"
EPOCH, EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)  # noqa: DTZ001  (local time)


class SharedStrings:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self._pieces: list[str] = []
        self._is_text = False
        self._is_phonetic = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "s:rPh":
            self._is_phonetic = True
        self._is_text = tag == "s:t" and not self._is_phonetic

    def end(self, tag: str) -> None:
        self._is_text = False
        if tag == "s:rPh":
            self._is_phonetic = False
        elif tag == "s:si":
            self.texts.append(" ".join("".join(self._pieces).split()))
            self._pieces = []

    def text(self, text: str) -> None:
        if self._is_text:
            self._pieces.append(text)


class CellFormats:
    """The styles of cells, by their index: which of them are dates or percentages."""

    def __init__(self) -> None:
        self._codes: dict[int, str] = {}
        self._styles: list[int] = []
        self._kinds: dict[str, str] = {}
        self._is_in_styles = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "s:numFmt":
            self._codes[_integer(attributes.get("numFmtId", ""))] = attributes.get("formatCode", "")
        elif tag == "s:cellXfs":
            self._is_in_styles = True
        elif tag == "s:xf" and self._is_in_styles:
            self._styles.append(_integer(attributes.get("numFmtId", "")))

    def end(self, tag: str) -> None:
        if tag == "s:cellXfs":
            self._is_in_styles = False

    def text(self, text: str) -> None: ...

    def formatted(self, value: str, style: str, *, is_1904: bool) -> str:
        """A date in ISO form, a percentage, or the number without what is lost in its binary."""
        kind = self._kinds.get(style) or self._kind(style)
        try:
            number = float(value)
        except ValueError:
            return value
        if kind == DATE:
            return _date(number, is_1904=is_1904) or value
        if kind == PERCENTAGE:
            return f"{number * 100:.15g}%"
        return value if value.isdigit() else f"{number:.15g}"

    def _kind(self, style: str) -> str:
        index = _integer(style)
        found = self._styles[index] if index < len(self._styles) else 0
        code = LITERAL.sub("", self._codes.get(found, ""))
        is_date = code.lower() != "general" and DATE_LETTERS.search(code)
        kind = NUMBER
        if "%" in code or found in PERCENTAGES:
            kind = PERCENTAGE
        elif is_date or (found in DATES and found not in self._codes):
            kind = DATE
        self._kinds[style] = kind
        return kind


def _date(days: float, *, is_1904: bool) -> str:
    """Empty if there is no such date."""
    try:
        moment = (EPOCH_1904 if is_1904 else EPOCH) + timedelta(seconds=round(days * 86_400))
    except (OverflowError, ValueError):
        return ""
    if 0 <= days < 1:
        return f"{moment:%H:%M:%S}".removesuffix(":00")
    has_time = (moment.hour, moment.minute, moment.second) != (0, 0, 0)
    return moment.strftime("%Y-%m-%d %H:%M" if has_time else "%Y-%m-%d")


def _integer(value: str) -> int:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
