"""Searches the ingested documents: text in Qdrant, entities in the graph."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Annotated, Any

from django.db.models import F, Q, QuerySet
from django.http import HttpRequest
from ninja import Query, Router
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ingestion_progress.api.errors import error_responses
from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.pipeline.models import Document, Edition, Entity
from ingestion_progress.pipeline.stores import vector_store
from ingestion_progress.pipeline.stores.graph import MentionedInAny

MAX_LIMIT = 100
MAX_QUERY_LENGTH = 1000
# More visible documents are not named in the query of the vector store.
MAX_DOCUMENTS = 1000
MAX_API_QUERY_LENGTH = 200
# No control characters, and not only spaces. Invisible characters that join or separate others are
# allowed: Persian, Hindi and emoji need them.
_CONTROLS = r"\x00-\x1f\x7f-\x9f"
WORDS = rf"^[^{_CONTROLS}]*[^{_CONTROLS}\s][^{_CONTROLS}]*$"

COPIED = ("document_id", "document_name", "page", "heading", "text")

router = Router()


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


def search(query: str, *, limit: int = 10, jobs: JobQuerySet | None = None) -> list[SearchHit]:
    """At most `limit` chunks (1 to 100), the best first. Raises VectorStoreUnavailable.

    `jobs`: only what they have written. If they have more than 1,000 documents, the best 1,000
    matches are searched.
    """
    # Its words and stemmers are loaded with the first search.
    from ingestion_progress.pipeline.stages.embedding import Bm25Embedder

    vector = Bm25Embedder().embed_query(query[:MAX_QUERY_LENGTH])
    hidden = Edition.objects.exclude(epoch=F("document__published_epoch"))
    limit = max(1, min(limit, MAX_LIMIT))
    documents = None if jobs is None else _documents_of(jobs)
    is_filtered_later = jobs is not None and documents is None
    matches = vector_store().search(
        vector,
        MAX_DOCUMENTS if is_filtered_later else limit,
        hidden=hidden.values_list("document_id", "epoch"),
        documents=documents,
    )
    payloads = _published([(match.payload, match.score) for match in matches])
    if jobs is not None:
        payloads = _of_jobs(payloads, jobs)[:limit]
    entities = _entities((payload["document_id"], payload["chunk"]) for payload, _score in payloads)
    return [
        SearchHit(
            **{name: payload[name] for name in COPIED},
            chunk_id=payload["chunk"],
            score=round(score, 4),
            entities=entities[payload["document_id"], payload["chunk"]],
        )
        for payload, score in payloads
    ]


def _documents_of(jobs: JobQuerySet) -> list[str] | None:
    """Those whose published edition is by one of the jobs; None if too many have to be asked."""
    ids = list(jobs.values_list("document_id", flat=True).distinct()[: MAX_DOCUMENTS + 1])
    if len(ids) > MAX_DOCUMENTS:
        return None
    published = Edition.objects.filter(document__in=ids, epoch=F("document__published_epoch"))
    return [document_id for document_id, _epoch in _written_by(jobs, published)]


def _of_jobs(
    found: list[tuple[dict[str, Any], float]], jobs: JobQuerySet
) -> list[tuple[dict[str, Any], float]]:
    ids = {payload["document_id"] for payload, _score in found}
    epochs = {payload.get("epoch", "") for payload, _score in found}
    kept = _written_by(jobs, Edition.objects.filter(document__in=ids, epoch__in=epochs))
    return [
        (payload, score)
        for payload, score in found
        if (payload["document_id"], payload.get("epoch", "")) in kept
    ]


def _written_by(jobs: JobQuerySet, editions: QuerySet[Edition]) -> set[tuple[str, str]]:
    """Document and epoch of the editions that one of the jobs wrote.

    Two queries, because the jobs may be in another database.
    """
    rows = list(editions.values_list("document_id", "epoch", "job_id"))
    job_ids = {job_id for _document_id, _epoch, job_id in rows}
    kept = set(jobs.filter(pk__in=job_ids).values_list("pk", flat=True))
    return {(document_id, epoch) for document_id, epoch, job_id in rows if job_id in kept}


def _published(found: list[tuple[dict[str, Any], float]]) -> list[tuple[dict[str, Any], float]]:
    """Leaves out chunks of deleted documents and of unpublished editions."""
    ids = {payload["document_id"] for payload, _score in found}
    documents = Document.objects.filter(pk__in=ids)
    epochs = dict(documents.values_list("pk", "published_epoch"))
    return [
        (payload, score)
        for payload, score in found
        if epochs.get(payload["document_id"]) == payload.get("epoch", "")
    ]


def _entities(places: Iterable[tuple[str, str]]) -> defaultdict[tuple[str, str], list[str]]:
    """The names of the entities by document and chunk, in the order of their creation."""
    found = defaultdict[tuple[str, str], list[str]](list)
    chunks = defaultdict[str, list[str]](list)
    for document_id, chunk in places:
        chunks[document_id].append(chunk)
    if not chunks:
        return found
    # The cheap condition first: PostgreSQL evaluates conditions within an OR in their order.
    of_each = (Q(document_id=key) & Q(MentionedInAny(keys)) for key, keys in chunks.items())
    published = Entity.objects.filter(epoch=F("document__published_epoch"))
    rows = published.filter(reduce(or_, of_each)).order_by("pk")
    for document_id, name, evidence in rows.values_list("document_id", "name", "evidence"):
        for place in evidence:
            found[document_id, place["chunk"]].append(name)
    return found


def words(text: str) -> str:
    """The query without surrounding spaces. Its error becomes an entry of a 422."""
    if not re.fullmatch(WORDS, text):
        raise PydanticCustomError("words", "1 or more characters, and no control characters")
    return text.strip()


class SearchQuery(BaseModel):
    q: Annotated[str, AfterValidator(words)] = Field(
        min_length=1,
        max_length=MAX_API_QUERY_LENGTH,
        description="The words to look for.",
        json_schema_extra={"pattern": WORDS},
    )
    limit: int = Field(default=10, ge=1, le=MAX_LIMIT, description="At most this many.")


class SearchResultSchema(BaseModel):
    query: str
    items: list[SearchHit] = Field(description="Best first.")


@router.get(
    "/search",
    response={
        200: SearchResultSchema,
        **error_responses(ErrorCode.INVALID_REQUEST, ErrorCode.UNAVAILABLE),
    },
    summary="Search the ingested documents",
    operation_id="search",
    url_name="search",
    tags=["Search"],
)
def search_documents(request: HttpRequest, query: Query[SearchQuery]) -> SearchResultSchema:
    """The passages that match best, with document, page, text and the entities in them.

    Empty if nothing matches. It is answered with 503 if the vector store does not answer in time.
    """
    return SearchResultSchema(
        query=query.q,
        items=search(query.q, limit=query.limit, jobs=permissions.visible_jobs(request)),
    )
