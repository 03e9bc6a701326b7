"""Names formats that cannot be ingested, by their first bytes."""

from __future__ import annotations

from dataclasses import dataclass

from ingestion_progress.pipeline.encodings import is_binary


@dataclass(frozen=True)
class Format:
    description: str
    advice: str = ""


UNPACK = "Unpack it and ingest the documents that it contains."
NEWER = "Save it as {} and ingest that."
PICTURE = "Save it as .png and ingest that."
TRANSCRIPT = "Ingest a transcript of it."

OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Documents of the old Office formats by the name of a stream that they have.
OLD_DOCUMENTS = {
    "WordDocument": Format("an old Word document", NEWER.format(".docx")),
    "PowerPoint Document": Format("an old PowerPoint presentation", NEWER.format(".pptx")),
    "Workbook": Format("an old Excel workbook", NEWER.format(".xlsx")),
    "__properties_version1.0": Format("an Outlook message", NEWER.format(".eml")),
}
OTHER_OLD_DOCUMENT = Format("an old Office document", "Save it in a newer format.")
BINARY_WORKBOOK = Format("a binary Excel workbook", NEWER.format(".xlsx"))
EMPTY_ZIP = Format("an empty ZIP archive")
ZIP = Format("a ZIP archive", UNPACK)
IWORK = Format("a document of Pages, Numbers or Keynote", "Export it as PDF and ingest that.")

GIF, BMP, WEBP, HEIC = (
    Format(f"a {name} picture", PICTURE) for name in ("GIF", "BMP", "WebP", "HEIC")
)
MP3, WAV, OGG, FLAC = (
    Format(f"{name} audio", TRANSCRIPT) for name in ("MP3", "WAV", "Ogg", "FLAC")
)
MP4, MATROSKA, AVI = (Format(f"{name} video", TRANSCRIPT) for name in ("MP4", "Matroska", "AVI"))
PROGRAM = Format("a program")
FONT = Format("a font")
# Offset and bytes, most of which no text has.
MARKS = [
    (0, b"PK\x05\x06", EMPTY_ZIP),
    (0, b"PK\x03\x04", ZIP),
    (0, b"\x1f\x8b", Format("a gzip archive", UNPACK)),
    (0, b"\xfd7zXZ\x00", Format("an xz archive", UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Format("a Zstandard archive", UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Format("a 7z archive", UNPACK)),
    (0, b"\x7fELF", PROGRAM),
    (0, b"\xcf\xfa\xed\xfe", PROGRAM),
    (0, b"\xca\xfe\xba\xbe", PROGRAM),
    (0, b"\x1a\x45\xdf\xa3", MATROSKA),
    (0, b"\x00\x01\x00\x00\x00", FONT),
    (0, b"%!PS", Format("a PostScript file", "Convert it to PDF and ingest that.")),
    (0, b"SQLite format 3\x00", Format("an SQLite database", "Export its tables as CSV.")),
    (4, b"ftypheic", HEIC),
    (4, b"ftypmif1", HEIC),
    (4, b"ftyp", MP4),
    (257, b"ustar", Format("a tar archive", UNPACK)),
    (60, b"BOOKMOBI", Format("a Kindle book", "Convert it to EPUB and ingest that.")),
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
    (0, b"Rar!", Format("a RAR archive", UNPACK)),
    (0, b"BZh", Format("a bzip2 archive", UNPACK)),
    (0, b"MZ", PROGRAM),
    (0, b"OTTO", FONT),
    (0, b"wOF", FONT),
    (0, b"PAR1", Format("a Parquet file", "Export it as CSV and ingest that.")),
    (0, b"AT&TFORM", Format("a DjVu document", "Convert it to PDF and ingest that.")),
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
