"""The graph of entities and relations, in two tables."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from django.db import models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler

from ingestion_progress.pipeline.models import Entity, Relation
from ingestion_progress.pipeline.stages import Chunk, Extraction

Row = TypeVar("Row", Entity, Relation)
Key = TypeVar("Key", str, tuple[str, str])

# The most stored mentions of an entity or relation: more do not improve a search.
MAX_MENTIONS = 200


@dataclass(frozen=True, kw_only=True)
class GraphWrites:
    """Numbers of rows that were created."""

    entities: int
    relations: int


class GraphStore(Protocol):
    def clear(self) -> None:
        """Deletes what an earlier ingestion of the document wrote."""

    def write(self, chunk: Chunk, extraction: Extraction) -> GraphWrites:
        """Adds the entities and relations of a chunk, all or none. Thread-safe."""


class DatabaseGraph:
    """The graph of one document, written by one job. Keeps the rows that it has written."""

    def __init__(self, document_id: str) -> None:
        self._document_id = document_id
        self._using = router.db_for_write(Entity)
        # SQLite has one writer: waiting for this lock is cheaper than waiting for the file.
        self._lock = threading.Lock()
        self._entities: dict[str, Entity] = {}
        self._relations: dict[tuple[str, str], Relation] = {}

    def clear(self) -> None:
        with self._lock, transaction.atomic(using=self._using):
            for model in (Relation, Entity):
                model.objects.using(self._using).filter(document_id=self._document_id).delete()
            self._entities.clear()
            self._relations.clear()

    def write(self, chunk: Chunk, extraction: Extraction) -> GraphWrites:
        mention = {"chunk": chunk.key, "page": chunk.page}
        names = {key: {"key": key, "name": name} for key, name in extraction.entities.items()}
        with self._lock:
            with transaction.atomic(using=self._using):
                entities = self._add(Entity, self._entities, names, mention)
                known = self._entities | entities
                pairs = {
                    pair: {"source": known[pair[0]], "target": known[pair[1]]}
                    for pair in extraction.relations
                }
                relations = self._add(Relation, self._relations, pairs, mention)
            # Only committed rows are kept.
            self._entities |= entities
            self._relations |= relations
        return GraphWrites(entities=len(entities), relations=len(relations))

    def _add(
        self,
        model: type[Row],
        known: Mapping[Key, Row],
        found: Mapping[Key, Mapping[str, Any]],
        mention: Mapping[str, Any],
    ) -> dict[Key, Row]:
        """Adds the mention to known rows and creates the others, which it returns."""
        manager: models.Manager[Row] = model._default_manager
        rows = [known[key] for key in found if key in known]
        changed = [row for row in rows if len(row.evidence) < MAX_MENTIONS]
        for row in changed:
            row.evidence.append(mention)
        if changed:
            manager.using(self._using).bulk_update(changed, ["evidence"])
        new = {
            key: model(document_id=self._document_id, evidence=[mention], **fields)
            for key, fields in found.items()
            if key not in known
        }
        manager.using(self._using).bulk_create(new.values())
        return new


class MentionedInAny(models.Func):
    """SQL: does one of these chunks mention the row? SQLite lacks Django's `contains` for JSON."""

    output_field = models.BooleanField()
    template = "EXISTS (SELECT 1 FROM %(function)s(%(expressions)s))"

    def __init__(self, chunks: Iterable[str]) -> None:
        keys = models.Func(*map(models.Value, chunks), template="%(expressions)s")
        super().__init__("evidence", keys)

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        separator = ") AS place WHERE json_extract(place.value, '$.chunk') IN ("
        return self.as_sql(compiler, connection, function="json_each", arg_joiner=separator)

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        separator = ") AS place WHERE place.value ->> 'chunk' IN ("
        function = "jsonb_array_elements"
        return self.as_sql(compiler, connection, function=function, arg_joiner=separator)
