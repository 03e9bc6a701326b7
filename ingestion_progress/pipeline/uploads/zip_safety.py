"""Checks a ZIP file before it is unpacked."""

import struct
import zipfile
import zlib
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import DamagedDocument, DocumentTooLarge

MAX_ENTRIES = 5_000
MAX_DIRECTORY_BYTES = 2 * 1024 * 1024
MAX_UNPACKED_BYTES = 200 * 1024 * 1024
# Deflate reaches 1032:1 on zeros; text and XML stay below 50:1.
MAX_RATIO = 150
RATIO_MATTERS_ABOVE_BYTES = 10 * 1024 * 1024
# What `zipfile` raises for a damaged part.
UNREADABLE: tuple[type[Exception], ...] = (zipfile.BadZipFile, zlib.error, struct.error)
UNREADABLE += (EOFError, NotImplementedError, OSError, RuntimeError, ValueError)
PICTURES = (".bmp", ".dib", ".emf", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".wmf")

END_OF_DIRECTORY = b"PK\x05\x06"
# Signature, four disk fields of 2 bytes, then size and offset of the directory, comment length.
END_RECORD = struct.Struct("<4s4H2LH")
# The same for ZIP64; the locator, which has the offset of the record, is before the other record.
LARGE_END_OF_DIRECTORY = b"PK\x06\x06"
LARGE_RECORD = struct.Struct("<4sQ2H2L4Q")
LARGE_LOCATOR = b"PK\x06\x07"
LOCATOR = struct.Struct("<4sLQL")
MAX_END_BYTES = END_RECORD.size + 65_535


def open_archive(file: BinaryIO, name: str) -> zipfile.ZipFile:
    """Raises DamagedDocument, or DocumentTooLarge if its unpacked size is above the limits."""
    _check_directory(file, name)
    try:
        archive = zipfile.ZipFile(file)
    except UNREADABLE as error:
        raise _unopened(name) from error
    entries = archive.infolist()
    # Only the headers of pictures are read, and a blank picture may be packed to a thousandth.
    read = [entry for entry in entries if not entry.filename.lower().endswith(PICTURES)]
    unpacked = sum(entry.file_size for entry in read)
    packed = sum(entry.compress_size for entry in read)
    is_bomb = unpacked > RATIO_MATTERS_ABOVE_BYTES and unpacked > packed * MAX_RATIO
    if len(entries) > MAX_ENTRIES or unpacked > MAX_UNPACKED_BYTES or is_bomb:
        raise _too_large(name)
    return archive


def _check_directory(file: BinaryIO, name: str) -> None:
    """Checks the counts at the end of the file, before `zipfile` loads the whole directory."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(max(0, size - MAX_END_BYTES))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(END_OF_DIRECTORY)
    if at < 0 or len(tail) - at < END_RECORD.size:
        raise DamagedDocument(
            StoredSentence(
                "“%(name)s” is cut off: the end of its archive is missing. Save or download it "
                "again.",
                name=name,
            )
        )
    record = END_RECORD.unpack_from(tail, at)
    entries, directory_bytes = record[4], record[5]
    if 0xFFFF in record[3:5] or 0xFFFFFFFF in record[5:7]:
        entries, directory_bytes = _large_counts(file, size - len(tail) + at, name)
    if entries > MAX_ENTRIES or directory_bytes > MAX_DIRECTORY_BYTES:
        raise _too_large(name)


def _large_counts(file: BinaryIO, end_at: int, name: str) -> tuple[int, int]:
    """Entries and bytes of the directory by the ZIP64 record; `end_at`: of the other record."""
    file.seek(max(0, end_at - LOCATOR.size))
    locator = file.read(LOCATOR.size)
    file.seek(0)
    at = LOCATOR.unpack(locator)[2] if locator.startswith(LARGE_LOCATOR) else end_at
    if at < end_at:
        file.seek(at)
        record = file.read(LARGE_RECORD.size)
        file.seek(0)
        if len(record) == LARGE_RECORD.size and record.startswith(LARGE_END_OF_DIRECTORY):
            return LARGE_RECORD.unpack(record)[7:9]
    raise _unopened(name)


def _unopened(name: str) -> DamagedDocument:
    return DamagedDocument(
        StoredSentence(
            "“%(name)s” is damaged: its archive cannot be opened. Save or download it again.",
            name=name,
        )
    )


def _too_large(name: str) -> DocumentTooLarge:
    return DocumentTooLarge(
        StoredSentence(
            "“%(name)s” would unpack to more than is allowed (%(size)s MB, %(parts)s parts or "
            "%(ratio)s times its size). It was not opened.",
            name=name,
            size=MAX_UNPACKED_BYTES // 1024**2,
            parts=MAX_ENTRIES,
            ratio=MAX_RATIO,
        )
    )
