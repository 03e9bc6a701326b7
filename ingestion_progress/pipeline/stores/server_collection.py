"""The collection of a Qdrant server: an alias of a numbered collection, so that it can be rebuilt.

`chunks` is the alias of `chunks-1`. A rebuilt index is `chunks-2`, complete before the alias points
to it. Collections of older versions have no alias until they are rebuilt.
"""

from collections.abc import Sequence
from typing import Any

from qdrant_client import QdrantClient
from qdrant_client import models as qdrant
from qdrant_client.http.exceptions import UnexpectedResponse

from ingestion_progress.pipeline.stages import DenseVector, Embedding, SparseVector
from ingestion_progress.pipeline.stores.fusion import MIN_MATCHES, RANK_CONSTANT

VECTOR = "bm25"
POSITION = "position"
INDEXED = {
    "document_id": qdrant.PayloadSchemaType.KEYWORD,
    "epoch": qdrant.PayloadSchemaType.KEYWORD,
    "language": qdrant.PayloadSchemaType.KEYWORD,
    "page": qdrant.PayloadSchemaType.INTEGER,
    POSITION: qdrant.PayloadSchemaType.INTEGER,
}
EXISTS = 409


def prepare(alias: str, client: QdrantClient) -> None:
    """Creates the collection and its alias unless they exist."""
    if not client.collection_exists(alias) and collection_of(alias, client) == alias:
        name = following(alias, alias)
        create(name, client)
        point_alias(alias, name, client)


def create(name: str, client: QdrantClient) -> None:
    """Another process may create it at the same time."""
    idf = qdrant.SparseVectorParams(modifier=qdrant.Modifier.IDF)
    try:
        client.create_collection(name, vectors_config={}, sparse_vectors_config={VECTOR: idf})
    except UnexpectedResponse as error:
        if error.status_code != EXISTS:
            raise
    create_indexes(name, client)


def create_indexes(name: str, client: QdrantClient) -> None:
    for field, kind in INDEXED.items():
        client.create_payload_index(name, field, kind)


def collection_of(alias: str, client: QdrantClient) -> str:
    """The collection behind the alias, or of that name."""
    aliases = client.get_aliases().aliases
    found = (each.collection_name for each in aliases if each.alias_name == alias)
    return next(found, alias)


def following(alias: str, collection: str) -> str:
    """The name of the collection after this one."""
    number = collection.removeprefix(f"{alias}-")
    return f"{alias}-{int(number) + 1 if number.isdecimal() else 1}"


def point_alias(alias: str, collection: str, client: QdrantClient) -> None:
    """In one step, if there is such an alias. A collection of this name is deleted before."""
    former = collection_of(alias, client)
    if former == alias and client.collection_exists(alias):
        client.delete_collection(alias)
    created = qdrant.CreateAlias(alias_name=alias, collection_name=collection)
    operations: list[Any] = [qdrant.CreateAliasOperation(create_alias=created)]
    if former != alias:
        deleted = qdrant.DeleteAlias(alias_name=alias)
        operations.insert(0, qdrant.DeleteAliasOperation(delete_alias=deleted))
    client.update_collection_aliases(change_aliases_operations=operations)


def has_model(collection: str, model: str, client: QdrantClient) -> bool:
    """Can the collection have dense vectors of this name?"""
    known = client.get_collection(collection).config.params.vectors
    return isinstance(known, dict) and model in known


def add_model(collection: str, dense: DenseVector, client: QdrantClient) -> None:
    """The server stores only vectors whose names it knows. Needs Qdrant 1.18."""
    if not has_model(collection, dense.model, client):
        size, cosine = len(dense.values), qdrant.Distance.COSINE
        parameters = qdrant.DenseVectorConfig(size=size, distance=cosine)
        config = qdrant.DenseVectorNameConfig(dense=parameters)
        client.create_vector_name(collection, dense.model, config)


def missing(collection: str, keys: Sequence[str], client: QdrantClient) -> set[str]:
    """The ids that are not in the collection."""
    found = client.retrieve(collection, list(keys), with_payload=False, with_vectors=False)
    return set(keys) - {str(record.id) for record in found}


def named(embedding: Embedding) -> dict[str, Any]:
    """The vectors by their names in the collection."""
    vectors: dict[str, Any] = {VECTOR: _sparse(embedding.sparse)}
    if embedding.dense is not None:
        vectors[embedding.dense.model] = list(embedding.dense.values)
    return vectors


def query_options(
    query: Embedding, dense_weight: float, limit: int, chunks: qdrant.Filter | None
) -> dict[str, Any]:
    """One query; or two, whose ranks are fused."""
    vectors = named(query)
    if not query.sparse.indices:
        del vectors[VECTOR]
    if len(vectors) == 1:
        ((name, vector),) = vectors.items()
        return {"query": vector, "using": name, "query_filter": chunks}
    most = max(limit, MIN_MATCHES)
    prefetch = [
        qdrant.Prefetch(query=vector, using=name, filter=chunks, limit=most)
        for name, vector in vectors.items()
    ]
    weights = [1 - dense_weight if name == VECTOR else dense_weight for name in vectors]
    fusion = qdrant.Rrf(k=RANK_CONSTANT, weights=weights)
    return {"query": qdrant.RrfQuery(rrf=fusion), "prefetch": prefetch}


def _sparse(vector: SparseVector) -> qdrant.SparseVector:
    return qdrant.SparseVector(indices=list(vector.indices), values=list(vector.values))
