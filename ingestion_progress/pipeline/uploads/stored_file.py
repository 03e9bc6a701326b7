"""Opens the file of an upload for a parser: where it is, or a temporary copy of it.

A storage with a `path` is on this host, and its files are read there. Files of any other storage,
such as S3, are copied: parsers read back and forth, which would be a request each time.
"""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import BinaryIO, cast

from django.core.files.storage import Storage

from ingestion_progress.concurrency.thread_pool import CHECK_SECONDS
from ingestion_progress.pipeline.exceptions import StorageUnavailable, StoredFileMissing
from ingestion_progress.pipeline.models import Document

logger = logging.getLogger("ingestion_progress.pipeline")


def open_stored(document: Document, check: Callable[[], None] = lambda: None) -> BinaryIO:
    """A seekable file. A copy is deleted when it is closed, or with its process.

    `check` is called while the file is copied. What it raises is raised at once, and the thread
    that copies deletes its copy later: a storage may not return before it has the whole file.
    Raises StoredFileMissing, or StorageUnavailable if the storage fails or the copy is incomplete.
    """
    if is_local(document.file.storage):
        try:
            return cast("BinaryIO", document.file.open("rb"))
        except FileNotFoundError as error:
            raise StoredFileMissing(document.name) from error
    copied: Future[BinaryIO] = Future()
    thread = Thread(target=_resolve, args=(copied, document), name="copy-upload", daemon=True)
    thread.start()
    try:
        while not wait([copied], timeout=CHECK_SECONDS).done:
            check()
    except BaseException:
        copied.add_done_callback(_close)
        raise
    return copied.result()


def _resolve(copied: "Future[BinaryIO]", document: Document) -> None:
    try:
        copied.set_result(_copied(document))
    except BaseException as error:  # noqa: BLE001  (raised in the thread that waits)
        copied.set_exception(error)


def _close(copied: "Future[BinaryIO]") -> None:
    if copied.exception() is None:
        copied.result().close()


def _copied(document: Document) -> BinaryIO:
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
    """Copies the file, which must not be larger than the upload was."""
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
