"""Vectors, filters and queries of a shard, from values of JSON (see `shard.py`)."""

import base64
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import qdrant_edge as edge

from ingestion_progress.pipeline.stores.fusion import MIN_MATCHES, RANK_CONSTANT

VECTOR = "bm25"
POSITION = "position"


def named(vectors: Mapping[str, Any]) -> dict[str, Any]:
    """The vectors by the names that Edge has for them."""
    found: dict[str, Any] = {VECTOR: edge.SparseVector(*vectors["sparse"])}
    if "model" in vectors:
        found[vectors["model"]] = numbers(vectors["dense"])
    return found


def numbers(encoded: str) -> list[float]:
    return array("f", base64.b64decode(encoded)).tolist()


def query_request(
    vectors: Mapping[str, Any], dense_weight: float, limit: int, chunks: edge.Filter | None
) -> edge.QueryRequest:
    """One query; or two, whose ranks are fused."""
    nearest = named(vectors)
    if not vectors["sparse"][0]:
        del nearest[VECTOR]
    queries = {name: edge.Query.Nearest(vector, using=name) for name, vector in nearest.items()}
    if len(queries) == 1:
        (query,) = queries.values()
        return edge.QueryRequest(limit=limit, query=query, filter=chunks, with_payload=True)
    weights = [1 - dense_weight if name == VECTOR else dense_weight for name in queries]
    most = max(limit, MIN_MATCHES)
    prefetches = [edge.Prefetch(most, query, filter=chunks) for query in queries.values()]
    fusion: Any = edge.Fusion.Rrf(RANK_CONSTANT, weights)
    return edge.QueryRequest(limit=limit, query=fusion, prefetches=prefetches, with_payload=True)


def of_edition(document_id: str, epoch: str | None) -> edge.Filter:
    """Chunks of a document, or of one edition. Those without an epoch have the epoch ""."""
    must: list[Any] = [edge.FieldCondition("document_id", match=edge.MatchValue(document_id))]
    if epoch == "":
        must.append(edge.IsEmptyCondition("epoch"))
    elif epoch is not None:
        must.append(edge.FieldCondition("epoch", match=edge.MatchValue(epoch)))
    return edge.Filter(must=must)


def any_of(key: str, values: Sequence[Any]) -> edge.FieldCondition:
    return edge.FieldCondition(key, match=edge.MatchAny(list(values)))


def between(first: int, end: int) -> edge.FieldCondition:
    return edge.FieldCondition(POSITION, range=edge.RangeFloat(gte=first, lt=end))
