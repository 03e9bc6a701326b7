"""The store of vectors in a Qdrant server."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from qdrant_client import QdrantClient
from qdrant_client import models as qdrant
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import VectorStoreBusy, VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages import Embedding
from ingestion_progress.pipeline.stores import server_collection as collection
from ingestion_progress.pipeline.stores.chunk_id import point_id, positioned
from ingestion_progress.pipeline.stores.server_filters import any_of, between, of_edition
from ingestion_progress.pipeline.stores.vectors import (
    Change,
    EmbeddedChunk,
    Match,
    StoredChunk,
    payload_of,
)

logger = logging.getLogger("ingestion_progress.pipeline")

Result = TypeVar("Result")

TIMEOUT_SECONDS = 10
ATTEMPTS = 4
PAGE = 256
# Without vectors.
READ_PAGE = 1000
# The most pages of a document that are counted.
MAX_PAGES = 100_000


class ServerVectors:
    """An OrderedVectorStore."""

    def __init__(self) -> None:
        self._collection = conf.qdrant_collection

    def write(self, document: Document, epoch: str, chunks: Sequence[EmbeddedChunk]) -> int:
        points = [
            qdrant.PointStruct(
                id=point_id(document.pk, epoch, chunk.key),
                vector=collection.named(embedding),
                payload=payload_of(document, epoch, chunk),
            )
            for chunk, embedding in chunks
        ]
        if points:
            self._upsert(self._collection, points, [embedding for _, embedding in chunks])
        return len(points)

    def adopt(
        self,
        document_id: str,
        epoch: str,
        former: Sequence[str],
        is_done: Callable[[str], bool] = lambda key: True,
    ) -> int:
        for each in former:
            chunks = of_edition(document_id, each)
            self._call(partial(_copy, self._collection, chunks, (document_id, epoch), is_done))
        return self.count(document_id, epoch) if former else 0

    def discard(self, document_id: str, epoch: str | None = None) -> None:
        selector = qdrant.FilterSelector(filter=of_edition(document_id, epoch))
        self._call(lambda client: client.delete(self._collection, selector, wait=True))

    def search(
        self,
        query: Embedding,
        limit: int,
        *,
        dense_weight: float = 0.3,
        hidden: Iterable[tuple[str, str]] = (),
        documents: Sequence[str] | None = None,
        pages: Sequence[int] = (),
        languages: Sequence[str] = (),
    ) -> list[Match]:
        if not (query.sparse.indices or query.dense):
            return []
        left_out = [of_edition(document_id, epoch) for document_id, epoch in hidden]
        only = [] if documents is None else [any_of("document_id", list(documents))]
        only += [any_of("page", list(pages))] if pages else []
        only += [any_of("language", list(languages))] if languages else []
        chunks = qdrant.Filter(must=only, must_not=left_out) if left_out or only else None
        if query.dense and not self._call(
            partial(collection.has_model, self._collection, query.dense.model)
        ):
            query = Embedding(query.sparse)
            if not query.sparse.indices:
                return []
        options = collection.query_options(query, dense_weight, limit, chunks)
        found = self._call(
            lambda client: client.query_points(self._collection, limit=limit, **options).points
        )
        return [Match(payload=point.payload or {}, score=point.score) for point in found]

    def count(self, document_id: str, epoch: str | None = None) -> int:
        condition = of_edition(document_id, epoch)
        return self._call(
            lambda client: client.count(self._collection, condition, exact=True).count
        )

    def count_by_page(self, document_id: str, epoch: str) -> dict[int, int]:
        condition = of_edition(document_id, epoch)
        found = self._call(
            lambda client: client.facet(
                self._collection, "page", facet_filter=condition, limit=MAX_PAGES, exact=True
            )
        )
        return {int(hit.value): hit.count for hit in found.hits}

    def chunk_keys(self, document_id: str, epoch: str) -> list[str]:
        read = partial(_scrolled_of, self._collection, of_edition(document_id, epoch), ["chunk"])
        return [payload["chunk"] for payload in self._call(read)]

    def read(self, document_id: str, epoch: str, keys: Sequence[str]) -> list[dict[str, Any]]:
        if epoch:
            ids = [point_id(document_id, epoch, key) for key in keys]
            records = self._call(lambda client: client.retrieve(self._collection, ids))
            return [record.payload or {} for record in records]
        chunks = any_of("chunk", list(keys))
        found = qdrant.Filter(must=[of_edition(document_id, epoch), chunks])
        return self._call(partial(_scrolled_of, self._collection, found, None)) if keys else []

    def count_between(self, document_id: str, epoch: str, first: int, end: int) -> int:
        chunks = qdrant.Filter(must=[of_edition(document_id, epoch), between(first, end)])
        return self._call(lambda client: client.count(self._collection, chunks, exact=True).count)

    def read_from(
        self, document_id: str, epoch: str, position: int, limit: int
    ) -> list[dict[str, Any]]:
        chunks = of_edition(document_id, epoch)
        return self._call(partial(_ordered, self._collection, chunks, position, limit))

    def stored(self) -> Iterator[Sequence[StoredChunk]]:
        offset: Any = None
        while True:
            scroll = partial(_scrolled, name=self._collection, offset=offset)
            records, offset = self._call(scroll)
            yield [(str(record.id), record.payload or {}) for record in records]
            if offset is None:
                return

    def rewrite(self, changed: Change) -> None:
        """Into another collection, to which the alias points when it is complete.

        Also what is written meanwhile, except in the last moment.
        """
        former = self._call(partial(collection.collection_of, self._collection))
        new = collection.following(self._collection, former)
        self._call(partial(_recreate, new))
        for _ in range(2):
            for chunks in self.stored():
                keys = [key for key, _payload in chunks]
                left = self._call(partial(collection.missing, new, keys)) if keys else set()
                self._write_changed(new, [each for each in chunks if each[0] in left], changed)
        self._call(partial(_replace, self._collection, new, former))

    def _write_changed(self, name: str, chunks: Sequence[StoredChunk], changed: Change) -> None:
        if not chunks:
            return
        pairs = changed(chunks)
        points = [
            qdrant.PointStruct(
                id=key,
                vector=collection.named(embedding),
                payload=positioned(payload, language=language),
            )
            for (key, payload), (embedding, language) in zip(chunks, pairs, strict=True)
        ]
        self._upsert(name, points, [embedding for embedding, _ in pairs])

    def _upsert(
        self, name: str, points: list[qdrant.PointStruct], embeddings: Sequence[Embedding]
    ) -> None:
        dense = next(filter(None, (embedding.dense for embedding in embeddings)), None)
        if dense is not None:
            self._call(partial(collection.add_model, name, dense))
        self._call(lambda client: client.upsert(name, points, wait=True))

    def optimize(self) -> None:
        """Creates the indexes that a collection of an older version lacks."""
        self._call(partial(collection.create_indexes, self._collection))

    def _call(self, use: Callable[[QdrantClient], Result]) -> Result:
        attempts = Retrying(
            retry=retry_if_exception_type(ResponseHandlingException),
            stop=stop_after_attempt(ATTEMPTS),
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
            timeout=TIMEOUT_SECONDS,
            check_compatibility=False,  # an extra request that only warns
        )
        try:
            collection.prepare(self._collection, client)
            return use(client)
        finally:
            client.close()


def _recreate(name: str, client: QdrantClient) -> None:
    """Creates the collection, and deletes one that an interrupted rebuild has left."""
    client.delete_collection(name)
    collection.create(name, client)


def _replace(alias: str, new: str, former: str, client: QdrantClient) -> None:
    collection.point_alias(alias, new, client)
    if former != alias:
        client.delete_collection(former)


def _copy(
    name: str,
    former: qdrant.Filter,
    edition: tuple[str, str],
    is_done: Callable[[str], bool],
    client: QdrantClient,
) -> None:
    offset = None
    while True:
        records, offset = client.scroll(
            name,
            former,
            limit=PAGE,
            offset=offset,
            with_vectors=True,
        )
        done = [record for record in records if is_done((record.payload or {})["chunk"])]
        if points := [_copied(record, *edition) for record in done]:
            client.upsert(name, points, wait=True)
        if offset is None:
            return


def _copied(record: qdrant.Record, document_id: str, epoch: str) -> qdrant.PointStruct:
    payload = positioned(record.payload or {}, epoch=epoch)
    return qdrant.PointStruct(
        id=point_id(document_id, epoch, payload["chunk"]),
        vector=cast("Any", record.vector),
        payload=payload,
    )


def _scrolled(client: QdrantClient, name: str, offset: Any) -> tuple[list[qdrant.Record], Any]:
    return client.scroll(name, limit=PAGE, offset=offset, with_payload=True)


def _scrolled_of(
    name: str, found: qdrant.Filter, names: list[str] | None, client: QdrantClient
) -> list[dict[str, Any]]:
    """The payloads of all these points, or of each only these fields."""
    payloads: list[dict[str, Any]] = []
    offset: Any = None
    while True:
        records, offset = client.scroll(
            name, found, limit=READ_PAGE, offset=offset, with_payload=names or True
        )
        payloads += [record.payload or {} for record in records]
        if offset is None:
            return payloads


def _ordered(
    name: str, chunks: qdrant.Filter, position: int, limit: int, client: QdrantClient
) -> list[dict[str, Any]]:
    """Nothing without the index, which a collection of an older version lacks."""
    if collection.POSITION not in client.get_collection(name).payload_schema:
        return []
    order = qdrant.OrderBy(key=collection.POSITION, start_from=position)
    records, _ = client.scroll(name, chunks, limit=limit, order_by=order)
    return [record.payload or {} for record in records]
