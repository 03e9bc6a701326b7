"""The graph of entities and relations, in two tables."""

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.db.models.sql.compiler import SQLCompiler

from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.pipeline.editions import writing
from ingestion_progress.pipeline.models import Document, Edition, Entity, Relation
from ingestion_progress.pipeline.stages import Chunk, Extraction

Row = TypeVar("Row", Entity, Relation)
Key = TypeVar("Key", str, tuple[str, str])
Extracted: TypeAlias = tuple[Chunk, Extraction]
Mention: TypeAlias = dict[str, str | int | None]

# The most stored mentions of an entity or relation: more do not improve a search.
MAX_MENTIONS = 200


@dataclass(frozen=True, kw_only=True)
class GraphWrites:
    """Numbers of rows that were created."""

    entities: int
    relations: int


class Found:
    """What was extracted from some chunks, with the chunks that mention it."""

    def __init__(self, results: Sequence[Extracted]) -> None:
        self.names: dict[str, str] = {}
        """Of the entities, by key."""
        self.entities: defaultdict[str, list[Mention]] = defaultdict(list)
        self.relations: defaultdict[tuple[str, str], list[Mention]] = defaultdict(list)
        for chunk, extraction in results:
            mention: Mention = {"chunk": chunk.key, "page": chunk.page}
            self.names = extraction.entities | self.names
            for key in extraction.entities:
                self.entities[key].append(mention)
            for pair in extraction.relations:
                self.relations[pair].append(mention)


class GraphStore(Protocol):
    def adopt(self, former: Sequence[str]) -> GraphWrites:
        """Adopts the rows of earlier editions, and returns their numbers."""

    def write(self, results: Sequence[Extracted]) -> GraphWrites:
        """Adds the entities and relations of chunks, all or none, and once. Thread-safe.

        Raises JobSuperseded if another attempt writes the document now.
        """

    def count(self) -> GraphWrites:
        """The numbers of rows of the edition, written by any process."""


class DatabaseGraph:
    """The graph of one edition, written by one attempt.

    Keeps the rows that it has written, unless it `is_shared` with other processes.
    """

    def __init__(
        self, document_id: str, job_id: str, epoch: str, *, is_shared: bool = False
    ) -> None:
        self._document_id = document_id
        self._job_id = job_id
        self._epoch = epoch
        self._writing = partial(writing, document_id, job_id, epoch)
        self._using = router.db_for_write(Entity)
        # SQLite has one writer: waiting for this lock is cheaper than waiting for the file.
        self._lock = threading.Lock()
        self._entities: dict[str, Entity] = {}
        self._relations: dict[tuple[str, str], Relation] = {}
        self._is_shared = is_shared
        # False after an error: only the database knows what was committed.
        self._is_known = True

    def adopt(self, former: Sequence[str]) -> GraphWrites:
        with self._lock, self._writing():
            for epoch in former:
                if self._is_published(epoch):
                    self._copy(epoch)
                else:
                    self._rows(Entity, epoch).update(epoch=self._epoch)
                    self._rows(Relation, epoch).update(epoch=self._epoch)
            self._load()
        return GraphWrites(entities=len(self._entities), relations=len(self._relations))

    def write(self, results: Sequence[Extracted]) -> GraphWrites:
        found = Found(results)
        with self._lock:
            is_known, self._is_known = self._is_known, False
            with self._writing():
                if self._is_shared:
                    self._raise_if_discarded()
                    self._load(found.names)
                elif not is_known:
                    self._load()
                entities = self._add(
                    Entity,
                    self._entities,
                    found.entities,
                    lambda key: {"key": key, "name": found.names[key]},
                )
                known = self._entities | entities
                relations = self._add(
                    Relation,
                    self._relations,
                    found.relations,
                    lambda pair: {"source": known[pair[0]], "target": known[pair[1]]},
                )
            self._entities |= entities
            self._relations |= relations
            self._is_known = True
        return GraphWrites(entities=len(entities), relations=len(relations))

    def _raise_if_discarded(self) -> None:
        """The attempt may have ended in another process."""
        kept = Edition.objects.using(self._using).filter(document=self._document_id)
        if not kept.filter(epoch=self._epoch, job_id=self._job_id).exists():
            raise JobSuperseded(self._job_id)

    def _rows(self, model: type[Row], epoch: str) -> QuerySet[Row]:
        return QuerySet(model, using=self._using).filter(document_id=self._document_id, epoch=epoch)

    def _is_published(self, epoch: str) -> bool:
        documents = Document.objects.using(self._using)
        return documents.filter(pk=self._document_id, published_epoch=epoch).exists()

    def _copy(self, epoch: str) -> None:
        entities = {row.key: row for row in self._rows(Entity, epoch)}
        relations = list(self._rows(Relation, epoch).select_related("source", "target"))
        copies: list[Entity | Relation] = [*entities.values(), *relations]
        for row in copies:
            row.pk, row.epoch = None, self._epoch
        Entity.objects.using(self._using).bulk_create(entities.values())
        for relation in relations:
            relation.source = entities[relation.source.key]
            relation.target = entities[relation.target.key]
        Relation.objects.using(self._using).bulk_create(relations)

    def count(self) -> GraphWrites:
        return GraphWrites(
            entities=self._rows(Entity, self._epoch).count(),
            relations=self._rows(Relation, self._epoch).count(),
        )

    def _load(self, keys: Collection[str] | None = None) -> None:
        """All rows, or the entities with these keys and the relations between them."""
        entities, relations = self._rows(Entity, self._epoch), self._rows(Relation, self._epoch)
        if keys is not None:
            entities = entities.filter(key__in=keys)
            relations = relations.filter(source__key__in=keys, target__key__in=keys)
        self._entities = {row.key: row for row in entities}
        self._relations = {
            (row.source.key, row.target.key): row
            for row in relations.select_related("source", "target")
        }

    def _add(
        self,
        model: type[Row],
        known: Mapping[Key, Row],
        found: Mapping[Key, Sequence[Mention]],
        fields: Callable[[Key], dict[str, Any]],
    ) -> dict[Key, Row]:
        """Adds the mentions to known rows and creates the others, which it returns."""
        manager: models.Manager[Row] = model._default_manager
        changed: list[Row] = []
        for key in found.keys() & known.keys():
            row = known[key]
            new = [mention for mention in found[key] if mention not in row.evidence]
            if new and len(row.evidence) < MAX_MENTIONS:
                row.evidence = (row.evidence + new)[:MAX_MENTIONS]
                changed.append(row)
        if changed:
            manager.using(self._using).bulk_update(changed, ["evidence"])
        own = {"document_id": self._document_id, "epoch": self._epoch}
        created = {
            key: model(evidence=mentions[:MAX_MENTIONS], **own, **fields(key))
            for key, mentions in found.items()
            if key not in known
        }
        manager.using(self._using).bulk_create(created.values())
        return created


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
