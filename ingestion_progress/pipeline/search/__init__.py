"""Searches the ingested documents: text in Qdrant, entities and relations in the graph."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from django.db.models import F, QuerySet
from pydantic import BaseModel, ConfigDict, Field

from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.pipeline.components import embedded_query, embedder
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.models import Document, Edition
from ingestion_progress.pipeline.search.filters import SearchFilters
from ingestion_progress.pipeline.stages import Embedding
from ingestion_progress.pipeline.stores import graph_store, vector_store
from ingestion_progress.pipeline.stores.languages import indexed_languages
from ingestion_progress.pipeline.stores.vectors import Match

MAX_LIMIT = 100
MAX_OFFSET = 1000
MAX_QUERY_LENGTH = 1000
# More documents are not named in the query of the vector store: its best matches are filtered.
MAX_DOCUMENTS = 1000
FILTERED_MATCHES = (1000, 10_000)

COPIED = ("document_id", "document_name", "page", "heading", "start", "end", "text")

Found: TypeAlias = list[tuple[dict[str, Any], float]]
"""Payloads and scores, best first."""


class HighlightSchema(BaseModel):
    model_config = ConfigDict(frozen=True)

    start: int = Field(ge=0, description="In characters (Unicode code points), into `text`.")
    end: int = Field(ge=0)


class RelatedSchema(BaseModel):
    """Two entities that the chunk relates to each other."""

    model_config = ConfigDict(frozen=True)

    source: str
    target: str
    type: str = Field(
        description="What it says of them, such as `works for`; empty if it is only known that "
        "both occur in one sentence."
    )


class SearchHit(BaseModel):
    """One chunk that matches a query."""

    model_config = ConfigDict(frozen=True)

    document_id: str
    document_name: str
    chunk_id: str = Field(description="Unique within its document.")
    page: int | None = Field(description="From 1; null where the format has no pages.")
    heading: str = Field(description="The heading of its section; may be empty.")
    language: str = Field(description="A code of ISO 639, as `de`; empty if unknown.")
    start: int = Field(ge=0, description="Where it begins in the text of its page, in characters.")
    end: int = Field(ge=0)
    text: str
    html: str = Field(description="The text as HTML, escaped, with its matches in `<mark>`.")
    highlights: list[HighlightSchema] = Field(description="The same matches, in order.")
    score: float = Field(
        description="BM25, or reciprocal rank fusion with a dense embedder; higher is better, "
        "comparable within one response."
    )
    entities: list[str] = Field(description="The names of the entities in the chunk.")
    relations: list[RelatedSchema] = Field(description="The relations in the chunk.")


def search(
    query: str,
    *,
    limit: int = 10,
    offset: int = 0,
    filters: SearchFilters | None = None,
    jobs: JobQuerySet | None = None,
    dense_weight: float | None = None,
    vectors: Embedding | None = None,
) -> list[SearchHit]:
    """At most `limit` chunks (1 to 100), the best first, after skipping `offset` (0 to 1000).

    `jobs`: only what they have written. If they or the filters leave more than 1,000 documents,
    the best 10,000 matches are searched. `dense_weight`: from 0 (only words) to 1 (only meaning);
    default: that of the settings. `vectors`: those of `query_vectors`, if they are known.

    Raises VectorStoreUnavailable or GraphStoreUnavailable.
    """
    # Words and stemmers are loaded with the first search.
    from ingestion_progress.pipeline.search.highlights import Highlighter, marked

    limit, offset = max(1, min(limit, MAX_LIMIT)), max(0, min(offset, MAX_OFFSET))
    text = query[:MAX_QUERY_LENGTH]
    languages = indexed_languages()
    weight = conf.dense_weight if dense_weight is None else dense_weight
    vectors = query_vectors(text, weight) if vectors is None else vectors
    ranked = partial(vector_store().search, vectors, dense_weight=weight)
    found = _found(ranked, limit + offset, filters or SearchFilters(), jobs)
    found = found[offset : offset + limit]
    places = [
        (payload["document_id"], payload.get("epoch", ""), payload["chunk"])
        for payload, _score in found
    ]
    mentioned = graph_store().mentioned(places)
    highlighter, hits = Highlighter(text, embedder(), languages), []
    for place, (payload, score) in zip(places, found, strict=True):
        language = payload.get("language") or ""
        spans = highlighter.spans(payload["text"], language)
        hits.append(
            SearchHit(
                **{name: payload[name] for name in COPIED},
                chunk_id=payload["chunk"],
                language=language,
                html=marked(payload["text"], spans),
                highlights=[HighlightSchema(start=start, end=end) for start, end in spans],
                score=round(score, 4),
                entities=mentioned.entities.get(place, []),
                relations=[
                    RelatedSchema(source=source, type=kind, target=target)
                    for source, kind, target in mentioned.relations.get(place, [])
                ],
            )
        )
    return hits


def query_vectors(query: str, dense_weight: float | None = None) -> Embedding:
    """What a search compares. It has no dense vector if its model does not answer."""
    weight = conf.dense_weight if dense_weight is None else dense_weight
    return embedded_query(query[:MAX_QUERY_LENGTH], indexed_languages(), weight)


def _found(
    ranked: Callable[..., list[Match]],
    number: int,
    filters: SearchFilters,
    jobs: JobQuerySet | None,
) -> Found:
    """The best chunks: at least `number`, if there are that many."""
    hidden = Edition.objects.exclude(epoch=F("document__published_epoch"))
    editions = list(hidden.values_list("document_id", "epoch"))
    chosen = filters.chosen(jobs)
    of_jobs = None if jobs is None else _documents_of(jobs)
    of_filters = None if chosen is None else _ids(chosen)
    is_filtered_later = (jobs is not None and of_jobs is None) or (
        chosen is not None and of_filters is None
    )
    documents = _both(of_jobs, of_filters)
    found: Found = []
    for most in FILTERED_MATCHES if is_filtered_later else [number]:
        matches = ranked(
            most,
            hidden=editions,
            documents=documents,
            pages=filters.pages,
            languages=filters.languages,
        )
        found = _published([(match.payload, match.score) for match in matches])
        if jobs is not None:
            found = _of_jobs(found, jobs)
        if chosen is not None:
            found = _of_documents(found, chosen)
        if len(found) >= number or len(matches) < most:
            break
    return found


def _ids(chosen: QuerySet[Document]) -> list[str] | None:
    """None if they are too many to be named."""
    ids = list(chosen.values_list("pk", flat=True)[: MAX_DOCUMENTS + 1])
    return None if len(ids) > MAX_DOCUMENTS else ids


def _both(some: Sequence[str] | None, others: Sequence[str] | None) -> list[str] | None:
    """What is in both; None is everything."""
    if some is None or others is None:
        return list(some or others or []) if (some, others) != (None, None) else None
    return sorted(set(some) & set(others))


def _of_documents(found: Found, chosen: QuerySet[Document]) -> Found:
    ids = {payload["document_id"] for payload, _score in found}
    kept = set(chosen.filter(pk__in=ids).values_list("pk", flat=True))
    return [(payload, score) for payload, score in found if payload["document_id"] in kept]


def _documents_of(jobs: JobQuerySet) -> list[str] | None:
    """The documents whose published edition is by one of the jobs; None if they are too many."""
    ids = list(jobs.values_list("document_id", flat=True).distinct()[: MAX_DOCUMENTS + 1])
    if len(ids) > MAX_DOCUMENTS:
        return None
    published = Edition.objects.filter(document__in=ids, epoch=F("document__published_epoch"))
    return [document_id for document_id, _epoch in _written_by(jobs, published)]


def _of_jobs(found: Found, jobs: JobQuerySet) -> Found:
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


def _published(found: Found) -> Found:
    """Leaves out chunks of deleted documents and of unpublished editions."""
    ids = {payload["document_id"] for payload, _score in found}
    documents = Document.objects.filter(pk__in=ids)
    epochs = dict(documents.values_list("pk", "published_epoch"))
    return [
        (payload, score)
        for payload, score in found
        if epochs.get(payload["document_id"]) == payload.get("epoch", "")
    ]
