"""Finds the media type of a file from its name and its content."""

import re
from enum import StrEnum
from typing import BinaryIO

from ingestion_progress.pipeline.encodings import is_binary
from ingestion_progress.pipeline.exceptions import (
    EmptyDocument,
    MislabelledDocument,
    ProtectedDocument,
    UnsupportedDocument,
)
from ingestion_progress.pipeline.uploads.names import extension
from ingestion_progress.pipeline.uploads.zip_safety import open_archive

HEAD_BYTES = 8192
WORD_FOLDER = "word/"
OLD_OFFICE = b"\xd0\xcf\x11\xe0"
# The stream of an Office document that is encrypted with a password.
ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
PDF_OBJECT = re.compile(rb"^\s*\d+ \d+ obj\b", re.MULTILINE)
GIF = b"GIF8"  # as a text may begin
# Formats that are often uploaded under another name, by their first bytes.
OTHER_FORMATS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    GIF: "a GIF picture",
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "an empty ZIP archive",
    OLD_OFFICE: "an old Office document",
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


DESCRIPTIONS = {
    MediaType.PDF: "a PDF",
    MediaType.DOCX: "a Word document",
    MediaType.HTML: "an HTML page",
    MediaType.MARKDOWN: "Markdown",
    MediaType.TEXT: "plain text",
}
EXTENSIONS = {".pdf": MediaType.PDF, ".docx": MediaType.DOCX}
EXTENSIONS |= dict.fromkeys((".html", ".htm", ".xhtml"), MediaType.HTML)
EXTENSIONS |= dict.fromkeys((".md", ".markdown"), MediaType.MARKDOWN)
EXTENSIONS |= dict.fromkeys((".txt", ".text", ".log"), MediaType.TEXT)


def media_type_of(file: BinaryIO, name: str) -> MediaType:
    """The media type of the name's extension, if the content matches it.

    Raises EmptyDocument, UnsupportedDocument, MislabelledDocument, ProtectedDocument or, for a
    Word document, the errors of `open_archive`.
    """
    named = EXTENSIONS.get(extension(name).lower())
    if named is None:
        raise UnsupportedDocument(
            f"“{name}” is of a kind that cannot be ingested. Use {', '.join(EXTENSIONS)}."
        )
    file.seek(0)
    head = file.read(HEAD_BYTES)
    while not head.strip() and (more := file.read(HEAD_BYTES)):
        head = more
    if not head.strip():
        raise EmptyDocument(f"“{name}” is empty.")
    if head.startswith(OLD_OFFICE) and ENCRYPTED in head + file.read():
        raise ProtectedDocument(
            f"“{name}” is protected by a password. Save it without one and try again."
        )
    found = _sniff(head)
    if found is None and head.startswith(b"PK\x03\x04"):
        found = _word_document(file, name)
    if found is None or not _agree(named, found):
        raise MislabelledDocument(_mismatch(name, named, found, head))
    return named


def _sniff(head: bytes) -> MediaType | None:
    """PDF, HTML or text by content; None if it is none of them."""
    # A text may speak of the first bytes of other formats.
    is_pdf = is_binary(head) or PDF_OBJECT.search(head) or head.startswith(b"%PDF-")
    if is_pdf and b"%PDF-" in head[:1024]:
        return MediaType.PDF
    if is_binary(head) or head.startswith(tuple(OTHER_FORMATS.keys() - {GIF})):
        return None
    start = head.lstrip()[:512].lower()
    is_html = start.startswith((b"<!doctype html", b"<html")) or b"<html" in start
    return MediaType.HTML if is_html else MediaType.TEXT


def _word_document(file: BinaryIO, name: str) -> MediaType | None:
    with open_archive(file, name) as archive:
        parts = (part.replace("\\", "/").lower() for part in archive.namelist())
        return MediaType.DOCX if any(part.startswith(WORD_FOLDER) for part in parts) else None


def _agree(named: MediaType, found: MediaType) -> bool:
    # Any text is valid as another kind of text, such as HTML source in a .txt file.
    return named is found or (named.is_text and found.is_text)


def _mismatch(name: str, named: MediaType, found: MediaType | None, head: bytes) -> str:
    others = (other for mark, other in OTHER_FORMATS.items() if head.startswith(mark))
    content = DESCRIPTIONS[found] if found else next(others, "something else")
    return (
        f"“{name}” is named like {DESCRIPTIONS[named]}, but its content is {content}. "
        "Give it the extension that fits its content, or export it again."
    )
