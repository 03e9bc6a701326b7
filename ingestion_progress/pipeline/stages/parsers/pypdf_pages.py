"""Parses what PDFium cannot open, or shows as empty: text only."""

from __future__ import annotations

import io
from typing import Any

from pypdf import PdfReader
from pypdf.errors import DependencyError, PyPdfError
from pypdf.generic import ArrayObject, DictionaryObject

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    EmptyDocument,
    ProtectedDocument,
    UnreadablePage,
)
from ingestion_progress.pipeline.stages import Page

# What pypdf raises for broken files. RuntimeError includes RecursionError.
BROKEN: tuple[type[Exception], ...] = (PyPdfError, ArithmeticError, AssertionError, AttributeError)
BROKEN += (LookupError, OSError, RuntimeError, TypeError, ValueError)

LIGATURES = {"/ff", "/ffi", "/ffl", "/f_f", "/f_f_i", "/f_f_l"}


class PypdfPages:
    """Raises UnreadableDocument if it cannot find the pages either."""

    def __init__(self, data: bytes, name: str) -> None:
        try:
            self._reader = PdfReader(io.BytesIO(data), strict=False)
            if self._reader.is_encrypted and not self._reader.decrypt(""):
                raise ProtectedDocument(
                    StoredSentence(
                        "“%(name)s” is protected by a password. Save it without one and try again.",
                        name=name,
                    )
                )
            self._count = len(self._reader.pages)
        except DependencyError as error:
            raise ProtectedDocument(
                StoredSentence("“%(name)s” is encrypted in a way that is not known.", name=name)
            ) from error
        except BROKEN as error:
            raise DamagedDocument(
                StoredSentence(
                    "“%(name)s” is damaged: its pages cannot be found. Export or download it "
                    "again.",
                    name=name,
                )
            ) from error
        if not self._count:
            raise EmptyDocument(StoredSentence("“%(name)s” has 0 pages.", name=name))

    def __len__(self) -> int:
        return self._count

    def has_ligatures(self, index: int) -> bool:
        """Does a font that is not in the file name ligatures that standard fonts do not have?"""
        try:
            resources: Any = self._reader.pages[index]["/Resources"]
            fonts = resources["/Font"]
            return any(_names(font) & LIGATURES for font in fonts.values())
        except BROKEN:
            return False

    def __getitem__(self, index: int, /) -> Page:
        number = index + 1
        try:
            text = self._reader.pages[index].extract_text()
        except BROKEN as error:
            raise UnreadablePage(
                StoredSentence("Page %(number)s is damaged and was left out.", number=number)
            ) from error
        text = text.replace("\0", "").encode("utf-8", "replace").decode()
        return Page(number=number, text=text)


def _names(font: Any) -> set[str]:
    """Names of the characters of a font that is not in the file, if it reorders its encoding."""
    font = font.get_object()
    descriptor = _dictionary(font, "/FontDescriptor")
    if any(key.startswith("/FontFile") for key in descriptor):
        return set()
    differences = _dictionary(font, "/Encoding").get("/Differences", ArrayObject())
    return {str(name) for name in differences.get_object()}


def _dictionary(parent: Any, key: str) -> DictionaryObject:
    """Empty if it has none."""
    found = parent.get(key, ArrayObject()).get_object()
    return found if isinstance(found, DictionaryObject) else DictionaryObject()
