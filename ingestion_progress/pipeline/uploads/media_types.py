"""Finds the media type of a file from its name and its content."""

from __future__ import annotations

import re
import zipfile
from contextlib import suppress
from enum import StrEnum
from typing import BinaryIO, NamedTuple

from ingestion_progress.exceptions.sentences import Sentence
from ingestion_progress.pipeline.encodings import is_binary
from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    EmptyDocument,
    MislabelledDocument,
    ProtectedDocument,
    UnreadableDocument,
    UnsupportedDocument,
)
from ingestion_progress.pipeline.uploads.names import extension
from ingestion_progress.pipeline.uploads.unsupported_formats import (
    BINARY_WORKBOOK,
    IWORK,
    OLD_OFFICE,
    ZIP,
    Format,
    old_office_format,
    unsupported_format,
)
from ingestion_progress.pipeline.uploads.zip_safety import UNREADABLE, open_archive

HEAD_BYTES = 8192
ZIP_MARK = b"PK\x03\x04"
# The stream of an Office document that is encrypted with a password.
ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
MAX_MIMETYPE_BYTES = 200
MAIL_HEADER = re.compile(
    rb"(?:Return-Path|Delivered-To|Received|Message-ID|MIME-Version|From): ", re.IGNORECASE
)
MAIL_DATE = re.compile(rb"^Date: ", re.MULTILINE | re.IGNORECASE)
PDF_OBJECT = re.compile(rb"^\s*\d+ \d+ obj\b", re.MULTILINE)


class MediaType(StrEnum):
    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    TEXT = "text/plain"
    ODT = "application/vnd.oasis.opendocument.text"
    ODP = "application/vnd.oasis.opendocument.presentation"
    ODS = "application/vnd.oasis.opendocument.spreadsheet"
    EPUB = "application/epub+zip"
    MAIL = "message/rfc822"
    RST = "text/x-rst"
    RTF = "application/rtf"
    CSV = "text/csv"
    JSON = "application/json"
    JSON_LINES = "application/jsonl"
    NOTEBOOK = "application/x-ipynb+json"
    XML = "application/xml"
    PNG = "image/png"
    JPEG = "image/jpeg"
    TIFF = "image/tiff"


class Kind(NamedTuple):
    description: Sentence
    """The name with its article, such as `a PDF`."""
    extensions: tuple[str, ...]
    is_text: bool = False
    """Its source is text, which is valid as any other kind of text."""


_ = Sentence
KINDS = {
    MediaType.PDF: Kind(_("a PDF"), (".pdf",)),
    MediaType.DOCX: Kind(_("a Word document"), (".docx", ".docm")),
    MediaType.PPTX: Kind(_("a PowerPoint presentation"), (".pptx", ".pptm", ".ppsx")),
    MediaType.XLSX: Kind(_("an Excel workbook"), (".xlsx", ".xlsm")),
    MediaType.HTML: Kind(_("an HTML page"), (".html", ".htm", ".xhtml"), is_text=True),
    MediaType.MARKDOWN: Kind(_("Markdown"), (".md", ".markdown"), is_text=True),
    MediaType.TEXT: Kind(_("plain text"), (".txt", ".text", ".log"), is_text=True),
    MediaType.ODT: Kind(_("an OpenDocument text"), (".odt", ".ott")),
    MediaType.ODP: Kind(_("an OpenDocument presentation"), (".odp", ".otp")),
    MediaType.ODS: Kind(_("an OpenDocument spreadsheet"), (".ods", ".ots")),
    MediaType.EPUB: Kind(_("an EPUB book"), (".epub",)),
    MediaType.MAIL: Kind(_("a message"), (".eml", ".mht", ".mhtml"), is_text=True),
    MediaType.RST: Kind(_("reStructuredText"), (".rst",), is_text=True),
    MediaType.RTF: Kind(_("an RTF document"), (".rtf",)),
    MediaType.CSV: Kind(_("a table of text"), (".csv", ".tsv"), is_text=True),
    MediaType.JSON: Kind(_("JSON"), (".json",), is_text=True),
    MediaType.JSON_LINES: Kind(_("JSON Lines"), (".jsonl", ".ndjson"), is_text=True),
    MediaType.NOTEBOOK: Kind(_("a Jupyter notebook"), (".ipynb",), is_text=True),
    MediaType.XML: Kind(_("XML"), (".xml",), is_text=True),
    MediaType.PNG: Kind(_("a PNG picture"), (".png",)),
    MediaType.JPEG: Kind(_("a JPEG picture"), (".jpg", ".jpeg")),
    MediaType.TIFF: Kind(_("a TIFF picture"), (".tif", ".tiff")),
}
PICTURE_MARKS = [
    (b"\x89PNG", MediaType.PNG),
    (b"\xff\xd8\xff", MediaType.JPEG),
    (b"II*\x00", MediaType.TIFF),
    (b"MM\x00*", MediaType.TIFF),
]
EXTENSIONS = {each: kind for kind, (_, names, _) in KINDS.items() for each in names}
# A folder of documents has pictures that belong to them.
FOLDER_EXTENSIONS = [
    each for each, kind in EXTENSIONS.items() if kind not in dict(PICTURE_MARKS).values()
]
# What a text of the media type begins with.
TEXT_MARKS = [(b"{\\rtf", MediaType.RTF), (b"<?xml", MediaType.XML)]
# Office documents by a folder that they have.
FOLDERS = {"word/": MediaType.DOCX, "ppt/": MediaType.PPTX, "xl/": MediaType.XLSX}


def media_type_of(file: BinaryIO, name: str) -> MediaType:
    """The media type of the name's extension, if the content matches it.

    A name without a known extension has that of the content. Raises EmptyDocument,
    UnsupportedDocument, MislabelledDocument, ProtectedDocument or the errors of `open_archive`.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    while not head.strip() and (more := file.read(HEAD_BYTES)):
        head = more
    if not head.strip():
        raise EmptyDocument(Sentence("“%(name)s” is empty.", name=name))
    named = EXTENSIONS.get(extension(name).lower())
    found = _found(file, name, head)
    if not isinstance(found, MediaType):
        raise _refusal(name, named, found)
    if named is not None and not _agree(named, found):
        raise _mismatch(name, named, KINDS[found].description)
    return named or found


def _found(file: BinaryIO, name: str, head: bytes) -> MediaType | Format | None:
    """By content; None if it is of no known format."""
    if head.startswith(OLD_OFFICE):
        return _old_office(name, head + file.read())
    # A text may speak of the first bytes of other formats.
    is_pdf = is_binary(head) or PDF_OBJECT.search(head) or head.startswith(b"%PDF-")
    if is_pdf and b"%PDF-" in head[:1024]:
        return MediaType.PDF
    if head.startswith(ZIP_MARK):
        return _in_archive(file, name)
    if picture := next((each for mark, each in PICTURE_MARKS if head.startswith(mark)), None):
        return picture
    if unsupported := unsupported_format(head):
        return unsupported
    return None if is_binary(head) else _text(head)


def _old_office(name: str, data: bytes) -> Format:
    if ENCRYPTED in data:
        raise ProtectedDocument(
            Sentence(
                "“%(name)s” is protected by a password. Save it without one and try again.",
                name=name,
            )
        )
    return old_office_format(data)


def _in_archive(file: BinaryIO, name: str) -> MediaType | Format:
    with open_archive(file, name) as archive:
        declared = _declared(archive, name)
        parts = [part.replace("\\", "/").lower() for part in archive.namelist()]
    if declared:
        return declared
    if "xl/workbook.bin" in parts:
        return BINARY_WORKBOOK
    for folder, media_type in FOLDERS.items():
        if any(part.startswith(folder) for part in parts):
            return media_type
    return IWORK if any(part.endswith(".iwa") for part in parts) else ZIP


def _declared(archive: zipfile.ZipFile, name: str) -> MediaType | None:
    """What a part of this name says, which e-books and OpenDocument have."""
    if "mimetype" not in archive.namelist():
        return None
    try:
        with archive.open("mimetype") as part:
            value = part.read(MAX_MIMETYPE_BYTES).decode("ascii", "replace")
    except UNREADABLE as error:
        raise DamagedDocument(
            Sentence(
                "“%(name)s” is damaged: its parts cannot be read. Save or download it again.",
                name=name,
            )
        ) from error
    with suppress(ValueError):
        return MediaType(value.strip().removesuffix("-template"))
    return None


def _text(head: bytes) -> MediaType:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return MediaType.HTML
    if MAIL_HEADER.match(head) and MAIL_DATE.search(head):
        return MediaType.MAIL
    return next((each for mark, each in TEXT_MARKS if start.startswith(mark)), MediaType.TEXT)


def _agree(named: MediaType, found: MediaType) -> bool:
    # Any text is valid as another kind of text, such as HTML source in a .txt file.
    return named is found or (KINDS[named].is_text and KINDS[found].is_text)


def _refusal(name: str, named: MediaType | None, found: Format | None) -> UnreadableDocument:
    if named is not None:
        return _mismatch(name, named, found.description if found else Sentence("something else"))
    advice = (found and found.advice) or Sentence(
        "Use %(extensions)s.", extensions=", ".join(EXTENSIONS)
    )
    if found is None:
        return UnsupportedDocument(
            Sentence(
                "“%(name)s” is of a kind that cannot be ingested. %(advice)s",
                name=name,
                advice=advice,
            )
        )
    return UnsupportedDocument(
        Sentence(
            "“%(name)s” is %(format)s, which cannot be ingested. %(advice)s",
            name=name,
            format=found.description,
            advice=advice,
        )
    )


def _mismatch(name: str, named: MediaType, content: Sentence) -> MislabelledDocument:
    return MislabelledDocument(
        Sentence(
            "“%(name)s” is named like %(format)s, but its content is %(content)s. "
            "Give it the extension that fits its content, or export it again.",
            name=name,
            format=KINDS[named].description,
            content=content,
        )
    )
