"""Searches the ingested documents: text in Qdrant, entities in the graph."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from django.db.models import Q
from pydantic import BaseModel, ConfigDict, Field

from ingestion_progress.pipeline.models import Entity
from ingestion_progress.pipeline.stores.graph import MentionedInAny

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LIMIT = 100
MAX_QUERY_LENGTH = 1000


class SearchHit(BaseModel):
    """One chunk that matches a query."""

    model_config = ConfigDict(frozen=True)

    document_id: str
    document_name: str
    chunk_id: str = Field(description="Unique within its document.")
    page: int | None = Field(description="From 1; null where the format has no pages.")
    heading: str = Field(description="The heading of its section; may be empty.")
    text: str
    score: float = Field(description="BM25; higher is better, comparable within one response.")
    entities: list[str] = Field(description="The names of the entities in the chunk.")


def search(query: str, *, limit: int = 10) -> list[SearchHit]:
    """At most `limit` chunks (1 to 100), the best first. Raises VectorStoreUnavailable."""
    # Importing Qdrant's client takes longer than the rest of a web process.
    from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
    from ingestion_progress.pipeline.stores.vectors import QdrantStore

    vector = Bm25Embedder().embed_query(query[:MAX_QUERY_LENGTH])
    matches = QdrantStore().search(vector, max(1, min(limit, MAX_LIMIT)))
    payloads = [(match.payload or {}, match.score) for match in matches]
    entities = _entities((payload["document_id"], payload["chunk"]) for payload, _score in payloads)
    return [
        SearchHit(
            document_id=payload["document_id"],
            document_name=payload["document_name"],
            chunk_id=payload["chunk"],
            page=payload["page"],
            heading=payload["heading"],
            text=payload["text"],
            score=round(score, 4),
            entities=entities.get((payload["document_id"], payload["chunk"]), []),
        )
        for payload, score in payloads
    ]


def _entities(places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """The names of the entities by document and chunk, in the order of their creation."""
    chunks: dict[str, list[str]] = {}
    for document_id, chunk in places:
        chunks.setdefault(document_id, []).append(chunk)
    if not chunks:
        return {}
    # The cheap condition first: PostgreSQL evaluates conditions within an OR in their order.
    of_each = (Q(document_id=key) & Q(MentionedInAny(keys)) for key, keys in chunks.items())
    rows = Entity.objects.filter(reduce(or_, of_each)).order_by("pk")
    found: dict[tuple[str, str], list[str]] = {}
    for document_id, name, evidence in rows.values_list("document_id", "name", "evidence"):
        for place in evidence:
            found.setdefault((document_id, place["chunk"]), []).append(name)
    return found
