"""Opens the file of an upload for a parser: where it is, or a temporary copy of it.

A storage with a `path` is on this host, and its files are read there. Files of any other storage,
such as S3, are copied: parsers read back and forth, which would be a request each time.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, cast

from django.core.files.storage import Storage

from ingestion_progress.pipeline.exceptions import StorageUnavailable, StoredFileMissing
from ingestion_progress.pipeline.models import Document

logger = logging.getLogger("ingestion_progress.pipeline")


def open_stored(document: Document) -> BinaryIO:
    """A seekable file. A copy is deleted when it is closed, or with its process.

    Raises StoredFileMissing, or StorageUnavailable if the storage fails or the copy is incomplete.
    """
    if is_local(document.file.storage):
        try:
            return cast("BinaryIO", document.file.open("rb"))
        except FileNotFoundError as error:
            raise StoredFileMissing(document.name) from error
    with ExitStack() as on_failure:
        copy = on_failure.enter_context(tempfile.TemporaryFile(prefix="ingestion-progress-"))
        with _storage_errors(document), document.file.open("rb") as file:
            _copy(file.chunks(), cast("BinaryIO", copy), document)
        on_failure.pop_all()
    return cast("BinaryIO", copy)


def is_local(storage: Storage) -> bool:
    """Are the files on a disk of this host?"""
    try:
        storage.path("")
    except NotImplementedError:
        return False
    return True


def _copy(chunks: Iterable[bytes], copy: BinaryIO, document: Document) -> None:
    """No larger than the upload was."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > document.size_bytes:
            break
        copy.write(chunk)
    if size != document.size_bytes:
        logger.error("stored_file_differs", extra={"document_id": document.pk, "bytes": size})
        raise StorageUnavailable(document.name)
    copy.seek(0)


@contextmanager
def _storage_errors(document: Document) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StoredFileMissing(document.name) from error
    except StorageUnavailable:
        raise
    except Exception as error:
        logger.exception("storage_failed", extra={"document_id": document.pk})
        raise StorageUnavailable(document.name) from error
