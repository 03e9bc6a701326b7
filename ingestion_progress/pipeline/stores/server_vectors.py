"""The store of vectors in a Qdrant server."""

import logging
from collections import defaultdict
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
from ingestion_progress.pipeline.stages import Embedding, SparseVector
from ingestion_progress.pipeline.stores.chunk_id import point_id
from ingestion_progress.pipeline.stores.fusion import MIN_MATCHES, RANK_CONSTANT
from ingestion_progress.pipeline.stores.vectors import (
    EmbeddedChunk,
    Match,
    StoredChunk,
    payload_of,
)

logger = logging.getLogger("ingestion_progress.pipeline")

Result = TypeVar("Result")

VECTOR = "bm25"
INDEXED = {
    "document_id": qdrant.PayloadSchemaType.KEYWORD,
    "epoch": qdrant.PayloadSchemaType.KEYWORD,
    "language": qdrant.PayloadSchemaType.KEYWORD,
    "page": qdrant.PayloadSchemaType.INTEGER,
}
TIMEOUT_SECONDS = 10
ATTEMPTS = 4
PAGE = 256
# Without vectors.
READ_PAGE = 1000


class ServerVectors:
    """A VectorStore."""

    def __init__(self) -> None:
        self._collection = conf.qdrant_collection

    def write(self, document: Document, epoch: str, chunks: Sequence[EmbeddedChunk]) -> int:
        points = [
            qdrant.PointStruct(
                id=point_id(document.pk, epoch, chunk.key),
                vector=_named(embedding),
                payload=payload_of(document, epoch, chunk),
            )
            for chunk, embedding in chunks
        ]
        if points:
            self._add_model(chunks[0][1])
            self._call(lambda client: client.upsert(self._collection, points, wait=True))
        return len(points)

    def adopt(
        self,
        document_id: str,
        epoch: str,
        former: Sequence[str],
        is_done: Callable[[str], bool] = lambda key: True,
    ) -> int:
        for each in former:
            self._call(partial(self._copy, document_id, each, epoch, is_done))
        return self.count(document_id, epoch) if former else 0

    def discard(self, document_id: str, epoch: str | None = None) -> None:
        selector = qdrant.FilterSelector(filter=_of_edition(document_id, epoch))
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
        left_out = [_of_edition(document_id, epoch) for document_id, epoch in hidden]
        only = [] if documents is None else [_any_of("document_id", list(documents))]
        only += [_any_of("page", list(pages))] if pages else []
        only += [_any_of("language", list(languages))] if languages else []
        chunks = qdrant.Filter(must=only, must_not=left_out) if left_out or only else None
        self._add_model(query)
        options = _query_options(query, dense_weight, limit, chunks)
        found = self._call(
            lambda client: client.query_points(self._collection, limit=limit, **options).points
        )
        return [Match(payload=point.payload or {}, score=point.score) for point in found]

    def count(self, document_id: str, epoch: str | None = None) -> int:
        condition = _of_edition(document_id, epoch)
        return self._call(
            lambda client: client.count(self._collection, condition, exact=True).count
        )

    def chunk_keys(self, document_id: str, epoch: str) -> list[str]:
        read = partial(_scrolled_of, self._collection, _of_edition(document_id, epoch), ["chunk"])
        return [payload["chunk"] for payload in self._call(read)]

    def read(self, document_id: str, epoch: str, keys: Sequence[str]) -> list[dict[str, Any]]:
        chunks = _any_of("chunk", list(keys))
        found = qdrant.Filter(must=[_of_edition(document_id, epoch), chunks])
        return self._call(partial(_scrolled_of, self._collection, found, None)) if keys else []

    def stored(self) -> Iterator[Sequence[StoredChunk]]:
        offset: Any = None
        while True:
            scroll = partial(_scrolled, collection=self._collection, offset=offset)
            records, offset = self._call(scroll)
            yield [(str(record.id), record.payload or {}) for record in records]
            if offset is None:
                return

    def replace_vectors(self, points: Sequence[tuple[str, Embedding, str]]) -> None:
        vectors = [
            qdrant.PointVectors(id=key, vector=_named(embedding)) for key, embedding, _ in points
        ]
        for _, embedding, _ in points[:1]:
            self._add_model(embedding)
        self._call(lambda client: client.update_vectors(self._collection, vectors, wait=True))
        of_language = defaultdict[str, list[qdrant.ExtendedPointId]](list)
        for key, _, language in points:
            of_language[language].append(key)
        for language, keys in of_language.items():
            payload = {"language": language}
            self._call(partial(_set_payload, self._collection, payload, keys))

    def optimize(self) -> None:
        """Creates the indexes that a collection of an older version lacks."""
        self._call(self._create_indexes)

    def _add_model(self, embedding: Embedding) -> None:
        """The server stores only vectors whose names it knows."""
        if embedding.dense is not None:
            model, size = embedding.dense.model, len(embedding.dense.values)
            self._call(partial(_create_vector_name, self._collection, model, size))

    def _create_indexes(self, client: QdrantClient) -> None:
        for name, kind in INDEXED.items():
            client.create_payload_index(self._collection, name, kind)

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
                limit=PAGE,
                offset=offset,
                with_vectors=True,
            )
            done = [record for record in records if is_done((record.payload or {})["chunk"])]
            if points := [_copied(record, document_id, epoch) for record in done]:
                client.upsert(self._collection, points, wait=True)
            if offset is None:
                return

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
            if self._prepare(client):
                self._create_indexes(client)
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


def _copied(record: qdrant.Record, document_id: str, epoch: str) -> qdrant.PointStruct:
    payload = (record.payload or {}) | {"epoch": epoch}
    return qdrant.PointStruct(
        id=point_id(document_id, epoch, payload["chunk"]),
        vector=cast("Any", record.vector),
        payload=payload,
    )


def _create_vector_name(collection: str, model: str, size: int, client: QdrantClient) -> None:
    """Unless it exists."""
    known = client.get_collection(collection).config.params.vectors
    if not (isinstance(known, dict) and model in known):
        parameters = qdrant.DenseVectorConfig(size=size, distance=qdrant.Distance.COSINE)
        config = qdrant.DenseVectorNameConfig(dense=parameters)
        client.create_vector_name(collection, model, config)


def _named(embedding: Embedding) -> dict[str, Any]:
    """The vectors by their names in the collection."""
    named: dict[str, Any] = {VECTOR: _sparse(embedding.sparse)}
    if embedding.dense is not None:
        named[embedding.dense.model] = list(embedding.dense.values)
    return named


def _query_options(
    query: Embedding, dense_weight: float, limit: int, chunks: qdrant.Filter | None
) -> dict[str, Any]:
    """One query; or two, whose ranks are fused."""
    named = _named(query)
    if not query.sparse.indices:
        del named[VECTOR]
    if len(named) == 1:
        ((name, vector),) = named.items()
        return {"query": vector, "using": name, "query_filter": chunks}
    most = max(limit, MIN_MATCHES)
    prefetch = [
        qdrant.Prefetch(query=vector, using=name, filter=chunks, limit=most)
        for name, vector in named.items()
    ]
    weights = [1 - dense_weight if name == VECTOR else dense_weight for name in named]
    fusion = qdrant.Rrf(k=RANK_CONSTANT, weights=weights)
    return {"query": qdrant.RrfQuery(rrf=fusion), "prefetch": prefetch}


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


def _any_of(key: str, values: list[str] | list[int]) -> qdrant.FieldCondition:
    return qdrant.FieldCondition(key=key, match=qdrant.MatchAny(any=values))


def _set_payload(
    collection: str,
    payload: dict[str, Any],
    keys: list[qdrant.ExtendedPointId],
    client: QdrantClient,
) -> None:
    client.set_payload(collection, payload, points=keys, wait=True)


def _scrolled(
    client: QdrantClient, collection: str, offset: Any
) -> tuple[list[qdrant.Record], Any]:
    return client.scroll(collection, limit=PAGE, offset=offset, with_payload=True)


def _scrolled_of(
    collection: str, found: qdrant.Filter, names: list[str] | None, client: QdrantClient
) -> list[dict[str, Any]]:
    """The payloads of all these points, or of each only these fields."""
    payloads: list[dict[str, Any]] = []
    offset: Any = None
    while True:
        records, offset = client.scroll(
            collection, found, limit=READ_PAGE, offset=offset, with_payload=names or True
        )
        payloads += [record.payload or {} for record in records]
        if offset is None:
            return payloads
