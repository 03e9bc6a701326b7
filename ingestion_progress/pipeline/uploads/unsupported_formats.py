"""Names formats that cannot be ingested, by their first bytes."""

from __future__ import annotations

from dataclasses import dataclass

from ingestion_progress.exceptions.sentences import Sentence
from ingestion_progress.pipeline.encodings import is_binary


@dataclass(frozen=True)
class Format:
    description: Sentence
    """The name with its article, such as `a ZIP archive`."""
    advice: Sentence | None = None


_ = Sentence
UNPACK = _("Unpack it and ingest the documents that it contains.")
TO_PNG, TO_PDF, TO_EPUB, TO_CSV, TO_DOCX, TO_PPTX, TO_XLSX, TO_EML = (
    _("Save it as %(format)s and ingest that.", format=each)
    for each in (".png", "PDF", "EPUB", "CSV", ".docx", ".pptx", ".xlsx", ".eml")
)
TRANSCRIPT = _("Ingest a transcript of it.")

OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Documents of the old Office formats by the name of a stream that they have.
OLD_DOCUMENTS = {
    "WordDocument": Format(_("an old Word document"), TO_DOCX),
    "PowerPoint Document": Format(_("an old PowerPoint presentation"), TO_PPTX),
    "Workbook": Format(_("an old Excel workbook"), TO_XLSX),
    "__properties_version1.0": Format(_("an Outlook message"), TO_EML),
}
OTHER_OLD_DOCUMENT = Format(_("an old Office document"), _("Save it in a newer format."))
BINARY_WORKBOOK = Format(_("a binary Excel workbook"), TO_XLSX)
EMPTY_ZIP = Format(_("an empty ZIP archive"))
ZIP = Format(_("a ZIP archive"), UNPACK)
IWORK = Format(_("a document of Pages, Numbers or Keynote"), TO_PDF)

GIF, BMP, WEBP, HEIC = (
    Format(_("a %(name)s picture", name=name), TO_PNG) for name in ("GIF", "BMP", "WebP", "HEIC")
)
MP3, WAV, OGG, FLAC = (
    Format(_("%(name)s audio", name=name), TRANSCRIPT) for name in ("MP3", "WAV", "Ogg", "FLAC")
)
MP4, MATROSKA, AVI = (
    Format(_("%(name)s video", name=name), TRANSCRIPT) for name in ("MP4", "Matroska", "AVI")
)
PROGRAM = Format(_("a program"))
FONT = Format(_("a font"))
# Offset and bytes, most of which no text has.
MARKS = [
    (0, b"PK\x05\x06", EMPTY_ZIP),
    (0, b"PK\x03\x04", ZIP),
    (0, b"\x1f\x8b", Format(_("a gzip archive"), UNPACK)),
    (0, b"\xfd7zXZ\x00", Format(_("an xz archive"), UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Format(_("a Zstandard archive"), UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Format(_("a 7z archive"), UNPACK)),
    (0, b"\x7fELF", PROGRAM),
    (0, b"\xcf\xfa\xed\xfe", PROGRAM),
    (0, b"\xca\xfe\xba\xbe", PROGRAM),
    (0, b"\x1a\x45\xdf\xa3", MATROSKA),
    (0, b"\x00\x01\x00\x00\x00", FONT),
    (0, b"%!PS", Format(_("a PostScript file"), TO_PDF)),
    (0, b"SQLite format 3\x00", Format(_("an SQLite database"), _("Export its tables as CSV."))),
    (4, b"ftypheic", HEIC),
    (4, b"ftypmif1", HEIC),
    (4, b"ftyp", MP4),
    (257, b"ustar", Format(_("a tar archive"), UNPACK)),
    (60, b"BOOKMOBI", Format(_("a Kindle book"), TO_EPUB)),
]
# A text may begin with these.
LETTER_MARKS = [
    (0, b"GIF8", GIF),
    (0, b"BM", BMP),
    (8, b"WEBP", WEBP),
    (8, b"WAVE", WAV),
    (8, b"AVI ", AVI),
    (0, b"ID3", MP3),
    (0, b"\xff\xfb", MP3),
    (0, b"OggS", OGG),
    (0, b"fLaC", FLAC),
    (0, b"Rar!", Format(_("a RAR archive"), UNPACK)),
    (0, b"BZh", Format(_("a bzip2 archive"), UNPACK)),
    (0, b"MZ", PROGRAM),
    (0, b"OTTO", FONT),
    (0, b"wOF", FONT),
    (0, b"PAR1", Format(_("a Parquet file"), TO_CSV)),
    (0, b"AT&TFORM", Format(_("a DjVu document"), TO_PDF)),
]


def unsupported_format(head: bytes) -> Format | None:
    """By the first bytes of a file; None if they are of no format that is known here."""
    marks = [*MARKS, *LETTER_MARKS] if is_binary(head) else MARKS
    found = (each for offset, mark, each in marks if head[offset : offset + len(mark)] == mark)
    return next(found, None)


def old_office_format(data: bytes) -> Format:
    for name, found in OLD_DOCUMENTS.items():
        if name.encode("utf-16-le") in data:
            return found
    return OTHER_OLD_DOCUMENT
