"""What was made of a document, as pages show it: chunks by page, entities and relations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.utils.translation import gettext, ngettext

from ingestion_progress.pipeline.documents.chunk_order import ordered_chunks
from ingestion_progress.pipeline.documents.contents import Counts, counts
from ingestion_progress.pipeline.documents.page_chart import PageChart, page_chart
from ingestion_progress.pipeline.exceptions import GraphStoreUnavailable, VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stores import graph_store, vector_store
from ingestion_progress.pipeline.stores.graph import Mentioned, StoredEntity, StoredRelation
from ingestion_progress.web import formatting

CHUNKS_PER_PAGE = 20
MENTIONED_SHOWN = 24
RELATIONS_SHOWN = 6
# The entities that a chunk shows.
ENTITIES_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class ShownEdition:
    """What one attempt has written, or writes, of a document."""

    document: Document
    epoch: str

    @property
    def is_published(self) -> bool:
        """Does search show it?"""
        return self.epoch == self.document.published_epoch


@dataclass(frozen=True, kw_only=True)
class ChunkPage:
    """Some chunks of an edition, in the order of the document."""

    groups: Sequence[tuple[int | None, Sequence[dict[str, Any]]]] = ()
    """Number of the document's page, None without pages, and its chunks."""
    number: int = 1
    page_count: int = 1
    total: int = 0
    is_available: bool = True
    """False: the vector store does not answer."""

    @property
    def shown_total(self) -> str:
        return formatting.count(self.total)

    @property
    def previous(self) -> int:
        """Number of the page before this one; 0 without one."""
        return self.number - 1

    @property
    def next(self) -> int:
        """Number of the page after this one; 0 without one."""
        return self.number + 1 if self.number < self.page_count else 0


def chunk_page(
    edition: ShownEdition, number: int = 1, *, chunk: str = "", size: int = CHUNKS_PER_PAGE
) -> ChunkPage:
    """The page with this number or the nearest one, or the page with the chunk, if there is one."""
    try:
        chunks = ordered_chunks(edition.document.pk, edition.epoch)
        page_count = max(1, -(-chunks.total // size))
        if (place := chunks.place(chunk)) is not None:
            number = place // size + 1
        number = min(max(number, 1), page_count)
        found = chunks.read((number - 1) * size, size)
    except VectorStoreUnavailable:
        return ChunkPage(is_available=False)
    keys = [payload["chunk"] for payload in found]
    return ChunkPage(
        groups=_by_page(found, _mentioned_in(edition, keys)),
        number=number,
        page_count=page_count,
        total=chunks.total,
    )


def _mentioned_in(edition: ShownEdition, keys: Sequence[str]) -> Mentioned:
    try:
        return graph_store().mentioned([(edition.document.pk, edition.epoch, key) for key in keys])
    except GraphStoreUnavailable:
        return Mentioned()


def _by_page(
    payloads: Sequence[dict[str, Any]], mentioned: Mentioned
) -> list[tuple[int | None, list[dict[str, Any]]]]:
    return [
        (page, [_chunk(each, mentioned) for each in chunks])
        for page, chunks in groupby(payloads, key=lambda payload: payload["page"])
    ]


def _chunk(payload: dict[str, Any], mentioned: Mentioned) -> dict[str, Any]:
    place = (payload["document_id"], payload.get("epoch", ""), payload["chunk"])
    return {
        "key": payload["chunk"],
        "heading": payload["heading"],
        "text": payload["text"],
        "entities": mentioned.entities.get(place, [])[:ENTITIES_SHOWN],
    }


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How much an edition contains, and what it mentions most."""

    counts: Counts
    entities: Sequence[StoredEntity] = ()
    relations: Sequence[StoredRelation] = ()
    pages: PageChart | None = None

    @property
    def shown_counts(self) -> list[tuple[str, str]]:
        """Labels and numbers."""
        values = [self.counts["chunks"], self.counts["entities"], self.counts["relations"]]
        texts = ["?" if value is None else formatting.count(value) for value in values]
        return list(
            zip([gettext("Chunks"), gettext("Entities"), gettext("Relations")], texts, strict=True)
        )


def stored_text(number: Counts) -> str:
    """How much is stored; "?" where a store does not answer."""
    chunks, entities, relations = number["chunks"], number["entities"], number["relations"]
    texts = (
        (ngettext("%(number)s chunk", "%(number)s chunks", chunks or 0), chunks),
        (ngettext("%(number)s entity", "%(number)s entities", entities or 0), entities),
        (ngettext("%(number)s relation", "%(number)s relations", relations or 0), relations),
    )
    return ", ".join(
        text % {"number": "?" if value is None else formatting.count(value)}
        for text, value in texts
    )


def summary(edition: ShownEdition, page_count: int = 0) -> Summary:
    """`page_count`: how many pages the document has, if that is known."""
    number = counts(edition.document, edition.epoch)
    pages = _chart(edition, page_count) if number["chunks"] else None
    if number["entities"] is None:
        return Summary(counts=number, pages=pages)
    store, place = graph_store(), (edition.document.pk, edition.epoch)
    try:
        entities = store.entities(
            *place, offset=0, limit=MENTIONED_SHOWN, most_mentioned_first=True
        )
        relations = store.relations(
            *place, offset=0, limit=RELATIONS_SHOWN, most_mentioned_first=True
        )
    except GraphStoreUnavailable:
        return Summary(counts=number, pages=pages)
    return Summary(counts=number, entities=entities, relations=relations, pages=pages)


def _chart(edition: ShownEdition, page_count: int) -> PageChart | None:
    try:
        found = vector_store().count_by_page(edition.document.pk, edition.epoch)
    except VectorStoreUnavailable:
        return None
    return page_chart(found, page_count)
