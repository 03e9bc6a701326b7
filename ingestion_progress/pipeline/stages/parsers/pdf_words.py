"""Adds spaces between words that PDFium joins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pypdfium2 import raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pypdfium2 import PdfTextPage

# Shares of the height of a letter's box. The narrowest spaces of justified lines have 0.2.
MIN_SPACE = 0.15
# Letters that are at least this far apart on both sides are spaced for emphasis.
MAX_LETTER_SPACE = 0.5
# How far a footnote's mark is above the line, in parts of its height.
MIN_RISE = 0.2
# Also PDFium's mark for a hyphen at the end of a line.
NO_SPACE_AT = re.compile("[\\s\ufffe\0]")
FOOTNOTE_MARK = re.compile(r"(?<=[^\W\d_]{4})\d{1,2}(?!\w)|(?<!\w)\d{1,2}(?=[^\W\d_]{4})")


class _Box(NamedTuple):
    """The box of a letter in points, as wide as the letter moves the pen."""

    left: float
    bottom: float
    right: float
    top: float

    def space_before(self, following: _Box) -> float:
        """The space in parts of the height; 0 if the other letter is not on the same line."""
        height = self.top - self.bottom
        shared = min(self.top, following.top) - max(self.bottom, following.bottom)
        is_on_line = height > 0 and shared > height / 2
        return max(0.0, (following.left - self.right) / height) if is_on_line else 0.0


def with_spaces_of_moves(text_page: PdfTextPage, text: str) -> str:
    """Ghostscript writes a space between words as letter spacing of the two letters beside it."""
    spaces = list(_spaces(text_page))
    starts = [
        raw.FPDFText_GetTextIndexFromCharIndex(text_page, number)
        for number in range(2, len(spaces) + 1)
        if _is_between_words(spaces, number)
    ]
    return _with_spaces(text, starts)


def with_apart_footnote_marks(text_page: PdfTextPage, text: str) -> str:
    """A number above the line is not a part of the word that it touches."""
    marks = [mark for mark in FOOTNOTE_MARK.finditer(text) if _is_raised(text_page, mark)]
    return _with_spaces(
        text, [mark.end() if _is_before_word(mark) else mark.start() for mark in marks]
    )


def _spaces(text_page: PdfTextPage) -> Iterator[float]:
    """Before each letter but the first."""
    box = raw.FS_RECTF()
    last = None
    for number in range(text_page.count_chars()):
        raw.FPDFText_GetLooseCharBox(text_page, number, box)
        letter = _Box(box.left, box.bottom, box.right, box.top)
        if last is not None:
            yield last.space_before(letter)
        last = letter


def _is_between_words(spaces: list[float], number: int) -> bool:
    """Is a space before the letter, but not also before the letters beside it?"""
    space = spaces[number - 1]
    beside = max(spaces[number - 2], spaces[number] if number < len(spaces) else 0.0)
    return space >= MIN_SPACE and beside <= space * MAX_LETTER_SPACE


def _is_before_word(mark: re.Match[str]) -> bool:
    return mark.string[mark.end() : mark.end() + 1].isalpha()


def _is_raised(text_page: PdfTextPage, mark: re.Match[str]) -> bool:
    beside = mark.end() if _is_before_word(mark) else mark.start() - 1
    digit, letter = (_bottom_and_height(text_page, at) for at in (mark.start(), beside))
    return digit[1] > 0 and digit[0] - letter[0] > MIN_RISE * digit[1]


def _bottom_and_height(text_page: PdfTextPage, index: int) -> tuple[float, float]:
    number = raw.FPDFText_GetCharIndexFromTextIndex(text_page, index)
    if number < 0:
        return 0.0, 0.0
    _, bottom, _, top = text_page.get_charbox(number)
    return bottom, top - bottom


def _with_spaces(text: str, starts: Iterable[int]) -> str:
    """`starts` are offsets of PDFium, which counts in UTF-16."""
    if max(text, default="") > "\uffff":
        return text
    for start in sorted(starts, reverse=True):
        if start > 0 and not NO_SPACE_AT.search(text[start - 1 : start + 1]):
            text = f"{text[:start]} {text[start:]}"
    return text
