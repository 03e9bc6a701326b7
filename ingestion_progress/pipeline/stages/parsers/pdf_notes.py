"""Reads what people have written on a PDF: the values of form fields, and text notes."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from pypdfium2 import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pypdfium2 import PdfPage
    from pypdfium2._helpers import PdfFormEnv

MAX_NOTES_PER_PAGE = 1000
MAX_NOTE_BYTES = 64 * 1024
WITH_TEXT = {
    raw.FPDF_FORMFIELD_TEXTFIELD,
    raw.FPDF_FORMFIELD_COMBOBOX,
    raw.FPDF_FORMFIELD_LISTBOX,
}


def notes_of(page: PdfPage, form: PdfFormEnv | None) -> list[str]:
    """Each once, in the order of the page, and without those that are empty."""
    return list(dict.fromkeys(filter(None, (text.strip() for text in _texts(page, form)))))


def _texts(page: PdfPage, form: PdfFormEnv | None) -> Iterator[str]:
    for index in range(min(raw.FPDFPage_GetAnnotCount(page), MAX_NOTES_PER_PAGE)):
        note = raw.FPDFPage_GetAnnot(page, index)
        if not note:
            continue
        try:
            kind = raw.FPDFAnnot_GetSubtype(note)
            if kind == raw.FPDF_ANNOT_FREETEXT:
                yield _string(raw.FPDFAnnot_GetStringValue, note, b"Contents")
            elif kind == raw.FPDF_ANNOT_WIDGET and form is not None and _has_text(form, note):
                yield _string(raw.FPDFAnnot_GetFormFieldValue, form, note)
        finally:
            raw.FPDFPage_CloseAnnot(note)


def _has_text(form: PdfFormEnv, note: Any) -> bool:
    return raw.FPDFAnnot_GetFormFieldType(form, note) in WITH_TEXT


def _string(read: Callable[..., int], *arguments: Any) -> str:
    """PDFium tells the size in bytes, with an ending 0, of a text in UTF-16."""
    size = min(read(*arguments, None, 0), MAX_NOTE_BYTES)
    if size <= 2:
        return ""
    buffer = (ctypes.c_ushort * (size // 2))()
    read(*arguments, buffer, size)
    return bytes(buffer).decode("utf-16-le", "replace").rstrip("\0")
