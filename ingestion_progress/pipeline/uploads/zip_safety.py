"""Checks a ZIP file before it is unpacked."""

import struct
import zipfile
from typing import BinaryIO

from ingestion_progress.pipeline.exceptions import DamagedDocument, DocumentTooLarge

MAX_ENTRIES = 5_000
MAX_DIRECTORY_BYTES = 2 * 1024 * 1024
MAX_UNPACKED_BYTES = 200 * 1024 * 1024
# Deflate reaches 1032:1 on zeros; text and XML stay below 50:1.
MAX_RATIO = 150
RATIO_MATTERS_ABOVE_BYTES = 10 * 1024 * 1024

END_OF_DIRECTORY = b"PK\x05\x06"
# Signature, four disk fields of 2 bytes, then size and offset of the directory, comment length.
END_RECORD = struct.Struct("<4s4H2LH")
MAX_END_BYTES = END_RECORD.size + 65_535


def open_archive(file: BinaryIO, name: str) -> zipfile.ZipFile:
    """Raises DamagedDocument, or DocumentTooLarge if its unpacked size is above the limits."""
    _check_directory(file, name)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise DamagedDocument(
            f"“{name}” is damaged: its archive cannot be opened. Save or download it again."
        ) from error
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
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
            f"“{name}” is cut off: the end of its archive is missing. Save or download it again."
        )
    record = END_RECORD.unpack_from(tail, at)
    entries, directory_bytes = record[4], record[5]
    # 0xFFFF and 0xFFFFFFFF, which mean ZIP64, are refused too.
    if entries > MAX_ENTRIES or directory_bytes > MAX_DIRECTORY_BYTES:
        raise _too_large(name)


def _too_large(name: str) -> DocumentTooLarge:
    return DocumentTooLarge(
        f"“{name}” would unpack to more than is allowed "
        f"({MAX_UNPACKED_BYTES // 1024**2} MB, {MAX_ENTRIES} parts or {MAX_RATIO} times its size). "
        "It was not opened."
    )
