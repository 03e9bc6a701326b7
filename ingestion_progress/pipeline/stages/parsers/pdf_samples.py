"""Asks PDFium about the fonts of a sample of the letters of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pypdfium2 import raw

if TYPE_CHECKING:
    from pypdfium2 import PdfTextPage

# Letters of each page, evenly spread: to ask PDFium for all would take longer than its text.
SAMPLED_LETTERS = 64


def has_unnamed_letters(text_page: PdfTextPage) -> bool:
    """Does the file map most letters of the page to nothing that can be read?"""
    sampled = _sampled(text_page)
    unnamed = sum(raw.FPDFText_HasUnicodeMapError(text_page, at) == 1 for at in sampled)
    return bool(unnamed * 2 > len(sampled))


def uses_standard_fonts(text_page: PdfTextPage) -> bool:
    """Does a letter of the sample have a font that is not in the file?"""
    return any(_has_standard_font(text_page, at) for at in _sampled(text_page))


def _sampled(text_page: PdfTextPage) -> range:
    count = text_page.count_chars()
    return range(0, count, max(1, count // SAMPLED_LETTERS))


def _has_standard_font(text_page: PdfTextPage, index: int) -> bool:
    shown = raw.FPDFText_GetTextObject(text_page, index)
    font = raw.FPDFTextObj_GetFont(shown) if shown else None
    return bool(font) and raw.FPDFFont_GetIsEmbedded(font) == 0
