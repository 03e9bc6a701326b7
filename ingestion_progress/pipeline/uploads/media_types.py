"""What kind of document a file is, by its name and by its content."""

from __future__ import annotations

import codecs
from enum import StrEnum
from typing import BinaryIO

from ingestion_progress.pipeline.exceptions import (
    EmptyDocument,
    MislabelledDocument,
    UnsupportedDocument,
)
from ingestion_progress.pipeline.uploads.names import extension
from ingestion_progress.pipeline.uploads.zip_safety import open_archive

HEAD_BYTES = 8192
WORD_PART = "word/document.xml"
TEXT_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# What is often uploaded under another name, by its first bytes.
FOREIGN = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "an empty ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"\x1f\x8b": "a gzip archive",
    b"{\\rtf": "an RTF document",
}


class MediaType(StrEnum):
    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    TEXT = "text/plain"

    @property
    def is_text(self) -> bool:
        return self.startswith("text/")

    @property
    def description(self) -> str:
        return {
            MediaType.PDF: "a PDF",
            MediaType.DOCX: "a Word document",
            MediaType.HTML: "an HTML page",
            MediaType.MARKDOWN: "Markdown",
            MediaType.TEXT: "plain text",
        }[self]


EXTENSIONS = {
    ".pdf": MediaType.PDF,
    ".docx": MediaType.DOCX,
    ".html": MediaType.HTML,
    ".htm": MediaType.HTML,
    ".xhtml": MediaType.HTML,
    ".md": MediaType.MARKDOWN,
    ".markdown": MediaType.MARKDOWN,
    ".txt": MediaType.TEXT,
    ".text": MediaType.TEXT,
    ".log": MediaType.TEXT,
}


def media_type_of(file: BinaryIO, name: str) -> MediaType:
    """What the file is, where its name and its content agree.

    Raises EmptyDocument, UnsupportedDocument, MislabelledDocument or, for a Word document,
    what `open_archive` raises.
    """
    named = EXTENSIONS.get(extension(name).lower())
    if named is None:
        raise UnsupportedDocument(
            f"“{name}” is of a kind that cannot be ingested. Use {', '.join(EXTENSIONS)}."
        )
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if not head.strip():
        raise EmptyDocument(f"“{name}” is empty.")
    found = _sniff(head)
    if found is None and head.startswith(b"PK\x03\x04"):
        found = _word_document(file, name)
    if found is None or not _agree(named, found):
        raise MislabelledDocument(_mismatch(name, named, found, head))
    return named


def _sniff(head: bytes) -> MediaType | None:
    """PDF, HTML or text by content; None for what is none of them."""
    if b"%PDF-" in head[:1024]:
        return MediaType.PDF
    if head.startswith(TEXT_MARKS):
        return MediaType.TEXT
    if b"\0" in head or any(head.startswith(mark) for mark in FOREIGN):
        return None
    start = head.lstrip()[:512].lower()
    is_html = start.startswith((b"<!doctype html", b"<html")) or b"<html" in start
    return MediaType.HTML if is_html else MediaType.TEXT


def _word_document(file: BinaryIO, name: str) -> MediaType | None:
    with open_archive(file, name) as archive:
        return MediaType.DOCX if WORD_PART in archive.namelist() else None


def _agree(named: MediaType, found: MediaType) -> bool:
    # Any text may be read as any kind of text: HTML source in a .txt is a fine document.
    return named is found or (named.is_text and found.is_text)


def _mismatch(name: str, named: MediaType, found: MediaType | None, head: bytes) -> str:
    foreign = next((what for mark, what in FOREIGN.items() if head.startswith(mark)), "")
    looks = found.description if found else foreign or "something else"
    return (
        f"“{name}” is named like {named.description}, but its content is {looks}. "
        "Give it the extension that fits its content, or export it again."
    )
