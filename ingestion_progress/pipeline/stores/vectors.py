"""Stores chunks and their vectors in Qdrant: a local folder, or a server.

The local folder accepts one client at a time across all processes, and a client is not
thread-safe. So each batch and each query opens the folder and closes it immediately.
"""

import contextlib
import logging
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from qdrant_client import QdrantClient
from qdrant_client import models as qdrant
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from ingestion_progress.concurrency.compat.qdrant import closed_on_failure, relax_durability
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import VectorStoreBusy, VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages import Chunk, SparseVector
from ingestion_progress.tracker import reason_of

logger = logging.getLogger("ingestion_progress.pipeline")

Result = TypeVar("Result")
EmbeddedChunk: TypeAlias = tuple[Chunk, SparseVector]

VECTOR = "bm25"
# Point ids are derived from this, so that writing a chunk again overwrites it.
NAMESPACE = uuid.UUID("6f0ee2b2-4f3a-5a27-9a9b-0c2f6b1d7c55")
LOCK_NAME = "clients.lock"
# A batch takes well below a second. Users wait for a read.
WRITE_TIMEOUT_SECONDS = 60.0
READ_TIMEOUT_SECONDS = 10.0
LOCK_CHECK_SECONDS = 0.02
SERVER_TIMEOUT_SECONDS = 10
SERVER_ATTEMPTS = 4
COPY_BATCH = 256

_in_this_process = threading.Lock()


class VectorStore(Protocol):
    def write(self, document: Document, epoch: str, chunks: Sequence[EmbeddedChunk]) -> int:
        """Stores chunks of an edition, each once, and returns their number."""

    def adopt(
        self, document_id: str, epoch: str, former: Sequence[str], is_done: Callable[[str], bool]
    ) -> int:
        """Copies chunks of earlier editions into this one, and returns their number.

        `is_done` takes the key of a chunk. The others will be written again, and are not copied, so
        that each is counted once.
        """

    def discard(self, document_id: str, epoch: str | None = None) -> None:
        """Deletes all chunks of an edition, or of the document."""


class QdrantStore:
    """Every call raises VectorStoreUnavailable if Qdrant cannot be used in time."""

    def __init__(self) -> None:
        self._collection = conf.qdrant_collection

    def write(self, document: Document, epoch: str, chunks: Sequence[EmbeddedChunk]) -> int:
        points = [_point(document, epoch, chunk, vector) for chunk, vector in chunks]
        if points:
            self._call(
                lambda client: client.upsert(self._collection, points, wait=True),
                WRITE_TIMEOUT_SECONDS,
            )
        return len(points)

    def adopt(
        self,
        document_id: str,
        epoch: str,
        former: Sequence[str],
        is_done: Callable[[str], bool] = lambda key: True,
    ) -> int:
        for each in former:
            copy = partial(self._copy, document_id, each, epoch, is_done)
            self._call(copy, WRITE_TIMEOUT_SECONDS)
        return self.count(document_id, epoch) if former else 0

    def discard(self, document_id: str, epoch: str | None = None) -> None:
        selector = qdrant.FilterSelector(filter=_of_edition(document_id, epoch))
        self._call(
            lambda client: client.delete(self._collection, selector, wait=True),
            WRITE_TIMEOUT_SECONDS,
        )

    def search(
        self,
        vector: SparseVector,
        limit: int,
        *,
        hidden: Iterable[tuple[str, str]] = (),
        documents: Sequence[str] | None = None,
    ) -> Sequence[qdrant.ScoredPoint]:
        """The best matches, best first.

        `hidden`: document and epoch of editions to leave out. `documents`: only chunks of these.
        """
        if not vector.indices:
            return []
        left_out = [_of_edition(document_id, epoch) for document_id, epoch in hidden]
        only = [] if documents is None else [_of_documents(documents)]
        return self._call(
            lambda client: (
                client.query_points(
                    self._collection,
                    _sparse(vector),
                    using=VECTOR,
                    limit=limit,
                    query_filter=qdrant.Filter(must=only, must_not=left_out)
                    if left_out or only
                    else None,
                    with_payload=True,
                ).points
            ),
            READ_TIMEOUT_SECONDS,
        )

    def count(self, document_id: str, epoch: str | None = None) -> int:
        """The number of stored chunks of a document or of one edition."""
        condition = _of_edition(document_id, epoch)
        return self._call(
            lambda client: client.count(self._collection, condition, exact=True).count,
            READ_TIMEOUT_SECONDS,
        )

    def _copy(
        self,
        document_id: str,
        former: str,
        epoch: str,
        is_done: Callable[[str], bool],
        client: QdrantClient,
    ) -> None:
        offset = None
        while True:
            records, offset = client.scroll(
                self._collection,
                _of_edition(document_id, former),
                limit=COPY_BATCH,
                offset=offset,
                with_vectors=True,
            )
            done = [record for record in records if is_done((record.payload or {})["chunk"])]
            if points := [_copied(record, document_id, epoch) for record in done]:
                client.upsert(self._collection, points, wait=True)
            if offset is None:
                return

    def _call(self, use: Callable[[QdrantClient], Result], timeout_seconds: float) -> Result:
        if conf.qdrant_url:
            return self._call_server(use)
        try:
            with _local_client(conf.qdrant_path, timeout_seconds) as client:
                self._prepare(client)
                relax_durability(client, self._collection)
                return use(client)
        except VectorStoreUnavailable:
            raise
        except Exception as error:
            logger.exception("search_index_broken", extra={"folder": str(conf.qdrant_path)})
            raise VectorStoreUnavailable(
                f"The search index cannot be used. {_sentence(error)}"
            ) from error

    def _call_server(self, use: Callable[[QdrantClient], Result]) -> Result:
        attempts = Retrying(
            retry=retry_if_exception_type(ResponseHandlingException),
            stop=stop_after_attempt(SERVER_ATTEMPTS),
            wait=wait_exponential(multiplier=0.25, max=2),
            reraise=True,
        )
        try:
            result: Result = attempts(self._ask_server, use)
        except (ApiException, ResponseHandlingException) as error:
            logger.exception("qdrant_failed", extra={"url": conf.qdrant_url})
            status = getattr(error, "status_code", None)
            is_passing = status is None or status >= 500
            raise (VectorStoreBusy if is_passing else VectorStoreUnavailable)(
                f"Qdrant does not answer as expected{f' (HTTP {status})' if status else ''}. "
                "Does it run at the address in QDRANT_URL, and accept QDRANT_API_KEY?"
            ) from error
        return result

    def _ask_server(self, use: Callable[[QdrantClient], Result]) -> Result:
        client = QdrantClient(
            url=conf.qdrant_url,
            api_key=conf.qdrant_api_key or None,
            timeout=SERVER_TIMEOUT_SECONDS,
            check_compatibility=False,  # an extra request that only warns
        )
        try:
            if self._prepare(client):
                for name in ("document_id", "epoch"):
                    client.create_payload_index(
                        self._collection, name, qdrant.PayloadSchemaType.KEYWORD
                    )
            return use(client)
        finally:
            client.close()

    def _prepare(self, client: QdrantClient) -> bool:
        """Creates the collection if it does not exist. Returns whether it did."""
        if client.collection_exists(self._collection):
            return False
        idf = qdrant.SparseVectorParams(modifier=qdrant.Modifier.IDF)
        client.create_collection(
            self._collection, vectors_config={}, sparse_vectors_config={VECTOR: idf}
        )
        return True


@contextlib.contextmanager
def _local_client(folder: Path, timeout_seconds: float) -> Iterator[QdrantClient]:
    """The only client of the folder in all processes while the block runs."""
    # Its import searches for a writable folder, which a web process may not have.
    import portalocker

    busy = VectorStoreBusy(
        "The search index is in use by another process. Try again in a moment, or set QDRANT_URL "
        "to a Qdrant server, which accepts many clients at a time."
    )
    if not _in_this_process.acquire(timeout=timeout_seconds):
        raise busy
    with contextlib.ExitStack() as stack:
        stack.callback(_in_this_process.release)
        folder.mkdir(parents=True, exist_ok=True)
        # Taken before Qdrant's own lock, which cannot be waited for.
        lock = portalocker.Lock(
            folder / LOCK_NAME, timeout=timeout_seconds, check_interval=LOCK_CHECK_SECONDS
        )
        try:
            stack.enter_context(lock)
            # Without the option it leaves a connection open, of which Python 3.13 warns. Only the
            # thread of this block uses the client.
            with closed_on_failure():
                client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
        # RuntimeError: another client has the folder without our lock.
        except (portalocker.exceptions.LockException, RuntimeError) as error:
            raise busy from error
        yield stack.enter_context(contextlib.closing(client))


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError | sqlite3.OperationalError):
        return reason_of(error)
    return "Its files may be damaged: delete its folder and ingest the documents again."


def point_id(document_id: str, epoch: str, chunk_key: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{document_id}/{epoch}/{chunk_key}"))


def _point(
    document: Document, epoch: str, chunk: Chunk, vector: SparseVector
) -> qdrant.PointStruct:
    return qdrant.PointStruct(
        id=point_id(document.pk, epoch, chunk.key),
        vector={VECTOR: _sparse(vector)},
        payload={
            "document_id": document.pk,
            "document_name": document.name,
            "epoch": epoch,
            "chunk": chunk.key,
            "page": chunk.page,
            "start": chunk.start,
            "end": chunk.end,
            "heading": chunk.heading,
            "text": chunk.text,
        },
    )


def _copied(record: qdrant.Record, document_id: str, epoch: str) -> qdrant.PointStruct:
    payload = (record.payload or {}) | {"epoch": epoch}
    return qdrant.PointStruct(
        id=point_id(document_id, epoch, payload["chunk"]),
        vector=cast("Any", record.vector),
        payload=payload,
    )


def _sparse(vector: SparseVector) -> qdrant.SparseVector:
    return qdrant.SparseVector(indices=list(vector.indices), values=list(vector.values))


def _of_edition(document_id: str, epoch: str | None = None) -> qdrant.Filter:
    """Chunks of a document, or of one edition. Those without an epoch have the epoch ""."""
    must: list[qdrant.Condition] = [_is("document_id", document_id)]
    if epoch == "":
        must.append(qdrant.IsEmptyCondition(is_empty=qdrant.PayloadField(key="epoch")))
    elif epoch is not None:
        must.append(_is("epoch", epoch))
    return qdrant.Filter(must=must)


def _is(key: str, value: str) -> qdrant.FieldCondition:
    return qdrant.FieldCondition(key=key, match=qdrant.MatchValue(value=value))


def _of_documents(document_ids: Sequence[str]) -> qdrant.FieldCondition:
    return qdrant.FieldCondition(key="document_id", match=qdrant.MatchAny(any=list(document_ids)))
