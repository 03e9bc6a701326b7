"""Filters of the chunks in a Qdrant server."""

from qdrant_client import models as qdrant

from ingestion_progress.pipeline.stores.server_collection import POSITION


def of_edition(document_id: str, epoch: str | None = None) -> qdrant.Filter:
    """Chunks of a document, or of one edition. Those without an epoch have the epoch ""."""
    must: list[qdrant.Condition] = [_is("document_id", document_id)]
    if epoch == "":
        must.append(qdrant.IsEmptyCondition(is_empty=qdrant.PayloadField(key="epoch")))
    elif epoch is not None:
        must.append(_is("epoch", epoch))
    return qdrant.Filter(must=must)


def _is(key: str, value: str) -> qdrant.FieldCondition:
    return qdrant.FieldCondition(key=key, match=qdrant.MatchValue(value=value))


def any_of(key: str, values: list[str] | list[int]) -> qdrant.FieldCondition:
    return qdrant.FieldCondition(key=key, match=qdrant.MatchAny(any=values))


def between(first: int, end: int) -> qdrant.FieldCondition:
    return qdrant.FieldCondition(key=POSITION, range=qdrant.Range(gte=first, lt=end))
