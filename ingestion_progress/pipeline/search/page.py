"""The page that searches: words, filters, and passages that lead to their place in a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe
from pydantic import ValidationError

from ingestion_progress.api.errors import invalid_value
from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.models import Batch
from ingestion_progress.pipeline.components import dense_embedder
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.documents.access import IS_SEARCHABLE, documents_for
from ingestion_progress.pipeline.exceptions import ModelRefused, ModelUnavailable, PipelineError
from ingestion_progress.pipeline.search import MAX_OFFSET, SearchHit, query_vectors, search
from ingestion_progress.pipeline.search.api import MAX_API_QUERY_LENGTH, SearchQuery
from ingestion_progress.pipeline.stages import Embedding
from ingestion_progress.pipeline.uploads.media_types import KINDS
from ingestion_progress.web import views
from ingestion_progress.web.recent_batches import recent_batch_ids

HITS_SHOWN = 10
ENTITIES_SHOWN = 8
# The length of a passage in characters, and how many of them precede the first match.
PASSAGE_LENGTH = 360
BEFORE_MATCH = 90
TEMPLATE = "ingestion_pipeline/search.html"
# Parameters in the order of the address. Others are left out: the form does not have them.
SINGLE = ("q", "batch", "offset", "dense_weight")
REPEATED = ("document", "media_type", "page", "language", "metadata")
# Labels of parameters in messages.
LABELS = {"q": gettext_lazy("The words"), "media_type": gettext_lazy("The type")}


@dataclass(frozen=True, kw_only=True)
class FoundHits:
    """Some hits, and whether there are more."""

    hits: Sequence[SearchHit] = ()
    has_more: bool = False
    problem: str = ""
    """A sentence that says why there are none."""
    status: int = 200
    is_model_away: bool = False
    """The model does not answer. Without a `problem` only words were searched; with one, the page
    offers to search them."""


@require_safe
def search_page(request: HttpRequest) -> HttpResponse:
    """The parameters are those of the API, without `limit`."""
    if not permissions.may_view(request, "", by_token=False):
        return views.refusal(request)
    query = _given(request.GET)
    wanted, invalid = _validated(query)
    found = FoundHits(problem=invalid, status=400 if invalid else 200)
    if wanted is not None:
        found = _found(request, wanted)
    context = {
        "query": query,
        "q": query.get("q", ""),
        "found": found,
        "hits": [_hit(hit, query) for hit in found.hits],
        "is_asked": "q" in query,
        "has_filters": any(name in query for name in (*REPEATED, "batch")),
        "has_documents": documents_for(request, by_token=False).filter(IS_SEARCHABLE).exists(),
        "max_length": MAX_API_QUERY_LENGTH,
        **_pages(query, wanted, found),
        **_filters(request, query),
    }
    return render(request, TEMPLATE, context, status=found.status)


def _given(parameters: QueryDict) -> QueryDict:
    """The known parameters that have a value."""
    given = QueryDict(mutable=True)
    for name in (*SINGLE, *REPEATED):
        values = [value for value in parameters.getlist(name) if value.strip()]
        if values:
            given.setlist(name, values[-1:] if name in SINGLE else values)
    return given


def _validated(query: QueryDict) -> tuple[SearchQuery | None, str]:
    """The query and an empty text, or None and what is wrong with it, if something is asked."""
    if "q" not in query:
        return None, ""
    values: dict[str, Any] = {name: query[name] for name in SINGLE if name in query}
    values |= {name: query.getlist(name) for name in REPEATED if name in query}
    try:
        return SearchQuery.model_validate(values | {"limit": HITS_SHOWN + 1}), ""
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        return None, invalid_value(str(LABELS.get(field, field)), dict(first)).translated()


def _found(request: HttpRequest, wanted: SearchQuery) -> FoundHits:
    try:
        vectors = query_vectors(wanted.q, wanted.dense_weight)
        hits = search(
            wanted.q,
            limit=wanted.limit,
            offset=wanted.offset,
            filters=wanted.filters,
            jobs=permissions.visible_jobs(request, by_token=False),
            dense_weight=wanted.dense_weight,
            vectors=vectors,
        )
    except PipelineError as error:
        if error.code is not ErrorCode.UNAVAILABLE:
            raise
        is_model_away = isinstance(error, ModelUnavailable | ModelRefused)
        return FoundHits(problem=error.translated(), status=503, is_model_away=is_model_away)
    return FoundHits(
        hits=hits[:HITS_SHOWN],
        has_more=len(hits) > HITS_SHOWN,
        is_model_away=_is_without_meaning(vectors, wanted.dense_weight),
    )


def _is_without_meaning(vectors: Embedding, dense_weight: float | None) -> bool:
    """Does the query lack the dense vector that the settings ask for?"""
    weight = conf.dense_weight if dense_weight is None else dense_weight
    return vectors.dense is None and weight > 0 and dense_embedder() is not None


def _hit(hit: SearchHit, query: QueryDict) -> dict[str, Any]:
    page = reverse("ingestion_progress:document_detail", args=[hit.document_id])
    return {
        "name": hit.document_name,
        "url": f"{page}?{urlencode({'chunk': hit.chunk_id})}#{hit.chunk_id}",
        "page": hit.page,
        "heading": hit.heading,
        "html": passage(hit),
        "language": hit.language,
        "entities": list(dict.fromkeys(hit.entities))[:ENTITIES_SHOWN],
        "document_id": hit.document_id if query.getlist("document") != [hit.document_id] else "",
    }


def passage(hit: SearchHit) -> str:
    """The part of the text with the first match as safe HTML, with all its matches marked."""
    from ingestion_progress.pipeline.search.highlights import marked

    text, spans = hit.text, [(each.start, each.end) for each in hit.highlights]
    start = max(0, (spans[0][0] if spans else 0) - BEFORE_MATCH)
    if start:  # at the beginning of a word, if there is one
        space = text.find(" ", start, start + BEFORE_MATCH)
        start = space + 1 if space >= 0 else start
    end = min(len(text), start + PASSAGE_LENGTH)
    if end < len(text):  # at the end of one
        space = text.rfind(" ", end - BEFORE_MATCH, end)
        end = space if space >= 0 else end
    shown = [
        (max(first, start) - start, min(last, end) - start)
        for first, last in spans
        if first < end and last > start
    ]
    before, after = "… " if start else "", " …" if end < len(text) else ""
    return format_html("{}{}{}", before, marked(text[start:end], shown), after)


def _pages(query: QueryDict, wanted: SearchQuery | None, found: FoundHits) -> dict[str, Any]:
    """Queries of the pages before and after this one."""
    offset = wanted.offset if wanted else 0
    following = offset + HITS_SHOWN
    return {
        "offset": offset,
        "first": offset + 1,
        "last": offset + len(found.hits),
        "earlier": _at(query, max(0, offset - HITS_SHOWN)) if offset else "",
        "later": _at(query, following) if found.has_more and following <= MAX_OFFSET else "",
    }


def _at(query: QueryDict, offset: int) -> str:
    moved = query.copy()
    moved.pop("offset", None)
    if offset:
        moved["offset"] = str(offset)
    return moved.urlencode()


def _filters(request: HttpRequest, query: QueryDict) -> dict[str, Any]:
    """What the form offers to choose from."""
    jobs = permissions.jobs_for(request, by_token=False)
    batch_ids = list(dict.fromkeys([*query.getlist("batch"), *recent_batch_ids(jobs)]))
    names = Batch.objects.in_bulk([each for each in batch_ids if "\0" not in each])
    ids = [each for each in query.getlist("document") if "\0" not in each]
    documents = documents_for(request, by_token=False).filter(pk__in=ids[:HITS_SHOWN])
    return {
        "chosen_types": query.getlist("media_type"),
        "types": [(str(kind), _kind_label(kind)) for kind in KINDS],
        "batches": [(each, str(names.get(each, each))) for each in batch_ids],
        "documents": list(documents.values_list("pk", "name")),
    }


def _kind_label(kind: Any) -> str:
    """`a Word document` as `Word document`."""
    label = KINDS[kind].description.translated().removeprefix("a ").removeprefix("an ")
    return f"{label[:1].upper()}{label[1:]}"
