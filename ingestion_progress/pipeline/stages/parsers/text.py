"""Parses plain text in UTF-8, UTF-16 or Windows-1252."""

import codecs
from typing import BinaryIO

from ingestion_progress.pipeline.exceptions import EmptyDocument, MislabelledDocument
from ingestion_progress.pipeline.stages import Page

PAGE_BREAK = "\f"


class TextParser:
    """A form feed, as in RFCs, begins a page; without any the document has no pages."""

    def open(self, file: BinaryIO, name: str) -> list[Page]:
        parts = read_text(file, name).split(PAGE_BREAK)
        if not parts[-1].strip():
            parts.pop()
        is_paged = len(parts) > 1
        return [
            Page(number=number if is_paged else None, text=part)
            for number, part in enumerate(parts, start=1)
        ]


def read_text(file: BinaryIO, name: str) -> str:
    """Raises EmptyDocument, or MislabelledDocument for binary data."""
    file.seek(0)
    text = decode(file.read())
    if "\0" in text:
        raise MislabelledDocument(f"“{name}” is not a text, whatever its name says.")
    if not text.strip():
        raise EmptyDocument(f"“{name}” is empty.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes) -> str:
    """UTF-16 if it has a byte order mark, else UTF-8, else Windows-1252, which never fails."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
