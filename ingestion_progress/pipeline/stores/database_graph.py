"""The graph of entities and relations in two tables of the app's database."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial, reduce
from operator import or_
from typing import Any, TypeAlias, TypeVar

from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet
from django.db.models.sql.compiler import SQLCompiler

from ingestion_progress.pipeline.documents.edition_writers import writing
from ingestion_progress.pipeline.models import Document, Entity, Relation
from ingestion_progress.pipeline.stores.graph import (
    MAX_MENTIONS,
    Extracted,
    Found,
    GraphWrites,
    Mention,
    Mentioned,
    Place,
    StoredEntity,
    StoredRelation,
)

Row = TypeVar("Row", Entity, Relation)
Key = TypeVar("Key", str, tuple[int, int])
Known: TypeAlias = tuple[int, list[Mention]]
"""Primary key and mentions of a stored row."""

# Pairs in one query; SQLite takes at most 32,766 parameters.
PAIRS_AT_ONCE = 5000

ENTITIES = "SELECT {columns} FROM {entity} WHERE document_id = %s AND epoch = %s AND key IN ("
KNOWN_RELATIONS = (
    "SELECT id, source_id, target_id, evidence FROM {relation} WHERE document_id = %s "
    "AND (source_id, target_id) IN (VALUES "
)
NEW_MENTIONS: Mapping[type[Entity | Relation], str] = {
    Entity: "UPDATE {entity} SET evidence = %s WHERE id = %s",
    Relation: "UPDATE {relation} SET evidence = %s WHERE id = %s",
}


class DatabaseGraph:
    """A GraphStore. What it deletes and reads is in the database of the router."""

    def writer(self, document_id: str, job_id: str, epoch: str) -> "DatabaseGraphWriter":
        return DatabaseGraphWriter(document_id, job_id, epoch)

    def count(self, document_id: str, epoch: str) -> GraphWrites:
        return GraphWrites(
            entities=_read(Entity, document_id, epoch).count(),
            relations=_read(Relation, document_id, epoch).count(),
        )

    def entities(
        self,
        document_id: str,
        epoch: str,
        *,
        offset: int,
        limit: int,
        most_mentioned_first: bool = False,
    ) -> list[StoredEntity]:
        ranks = [MentionCount().desc()] if most_mentioned_first else []
        rows = _read(Entity, document_id, epoch).order_by(*ranks, "key")
        found = rows.values_list("name", "evidence")[offset : offset + limit]
        return [StoredEntity(name=name, mentions=evidence) for name, evidence in found]

    def relations(
        self,
        document_id: str,
        epoch: str,
        *,
        offset: int,
        limit: int,
        most_mentioned_first: bool = False,
    ) -> list[StoredRelation]:
        ranks = [MentionCount().desc()] if most_mentioned_first else []
        rows = _read(Relation, document_id, epoch)
        rows = rows.order_by(*ranks, "source__key", "target__key")
        found = rows.values_list("source__name", "target__name", "evidence")
        return [
            StoredRelation(source=source, target=target, mentions=evidence)
            for source, target, evidence in found[offset : offset + limit]
        ]

    def mentioned(self, places: Collection[Place]) -> Mentioned:
        found = Mentioned()
        if not places:
            return found
        in_any = _mentioned_in_any(places)
        entities = Entity.objects.filter(in_any).order_by("pk")
        for document_id, epoch, name, evidence in entities.values_list(
            "document_id", "epoch", "name", "evidence"
        ):
            for mention in evidence:
                found.entities[document_id, epoch, mention["chunk"]].append(name)
        relations = Relation.objects.filter(in_any).order_by("pk")
        for document_id, epoch, source, target, evidence in relations.values_list(
            "document_id", "epoch", "source__name", "target__name", "evidence"
        ):
            relation = StoredRelation(source=source, target=target, mentions=evidence)
            for mention in evidence:
                place = (document_id, epoch, mention["chunk"])
                found.relations[place] += relation.stated_by(mention)
        return found

    def discard(self, document_id: str, epoch: str | None = None) -> None:
        for model in (Relation, Entity):
            rows: QuerySet[Any] = QuerySet(model, using=router.db_for_write(model))
            rows = rows.filter(document_id=document_id)
            (rows if epoch is None else rows.filter(epoch=epoch)).delete()


def _read(model: type[Row], document_id: str, epoch: str) -> QuerySet[Row]:
    return QuerySet(model).filter(document_id=document_id, epoch=epoch)


def _mentioned_in_any(places: Iterable[Place]) -> Q:
    chunks = defaultdict[tuple[str, str], list[str]](list)
    for document_id, epoch, chunk in places:
        chunks[document_id, epoch].append(chunk)
    # The cheap conditions first: PostgreSQL evaluates conditions within an OR in their order.
    return reduce(
        or_,
        (
            Q(document_id=document_id) & Q(epoch=epoch) & Q(MentionedInAny(keys))
            for (document_id, epoch), keys in chunks.items()
        ),
    )


class DatabaseGraphWriter:
    """A GraphWriter in SQL: instances of models would take most of the time of an ingestion."""

    def __init__(self, document_id: str, job_id: str, epoch: str) -> None:
        self._document_id = document_id
        self._epoch = epoch
        self._writing = partial(writing, document_id, job_id, epoch)
        self._using = router.db_for_write(Entity)

    def adopt(self, former: Sequence[str]) -> GraphWrites:
        with self._writing():
            for epoch in former:
                if self._is_published(epoch):
                    self._copy(epoch)
                else:
                    self._rows(Entity, epoch).update(epoch=self._epoch)
                    self._rows(Relation, epoch).update(epoch=self._epoch)
            return GraphWrites(
                entities=self._rows(Entity, self._epoch).count(),
                relations=self._rows(Relation, self._epoch).count(),
            )

    def write(self, results: Sequence[Extracted]) -> GraphWrites:
        found = Found(results)
        # Made before the transaction: no other process writes to SQLite during it.
        entities = {key: _json(mentions) for key, mentions in found.entities.items()}
        evidence = {pair: _json(mentions) for pair, mentions in found.relations.items()}
        with self._writing():
            known = self._known_entities(found.entities)
            self._add_mentions(Entity, known, found.entities)
            created = self._create_entities(
                [
                    (self._document_id, self._epoch, key, found.names[key], mentions)
                    for key, mentions in entities.items()
                    if key not in known
                ]
            )
            ids = created | {key: row_id for key, (row_id, _) in known.items()}
            relations = {
                (ids[source], ids[target]): mentions
                for (source, target), mentions in found.relations.items()
            }
            former = [
                (ids[source], ids[target])
                for source, target in found.relations
                if source in known and target in known
            ]
            known_relations = self._known_relations(former)
            self._add_mentions(Relation, known_relations, relations)
            new = [
                (self._document_id, self._epoch, *pair, mentions)
                for pair, mentions in zip(relations, evidence.values(), strict=True)
                if pair not in known_relations
            ]
            self._create_relations(new)
        return GraphWrites(entities=len(created), relations=len(new))

    def _rows(self, model: type[Row], epoch: str) -> QuerySet[Row]:
        return QuerySet(model, using=self._using).filter(document_id=self._document_id, epoch=epoch)

    def _is_published(self, epoch: str) -> bool:
        documents = Document.objects.using(self._using)
        return documents.filter(pk=self._document_id, published_epoch=epoch).exists()

    def _copy(self, epoch: str) -> None:
        self._execute(
            "INSERT INTO {entity} (document_id, epoch, key, name, evidence) "
            "SELECT document_id, %s, key, name, evidence FROM {entity} "
            "WHERE document_id = %s AND epoch = %s ORDER BY id",
            [self._epoch, self._document_id, epoch],
        )
        self._execute(
            "INSERT INTO {relation} (document_id, epoch, source_id, target_id, evidence) "
            "SELECT former.document_id, %s, source.id, target.id, former.evidence "
            "FROM {relation} AS former "
            "JOIN {entity} AS a ON a.id = former.source_id "
            "JOIN {entity} AS b ON b.id = former.target_id "
            "JOIN {entity} AS source ON source.document_id = a.document_id "
            "AND source.epoch = %s AND source.key = a.key "
            "JOIN {entity} AS target ON target.document_id = b.document_id "
            "AND target.epoch = %s AND target.key = b.key "
            "WHERE former.document_id = %s AND former.epoch = %s ORDER BY former.id",
            [self._epoch, self._epoch, self._epoch, self._document_id, epoch],
        )

    def _known_entities(self, keys: Iterable[str]) -> dict[str, Known]:
        rows = self._entities("key, id, evidence", list(keys))
        return {key: (pk, json.loads(evidence)) for key, pk, evidence in rows}

    def _create_entities(self, new: Sequence[tuple[str, ...]]) -> dict[str, int]:
        """Returns their primary keys."""
        self._execute_many(
            "INSERT INTO {entity} (document_id, epoch, key, name, evidence) "
            "VALUES (%s, %s, %s, %s, %s)",
            new,
        )
        return dict(self._entities("key, id", [key for _, _, key, *_ in new]))

    def _entities(self, columns: str, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        if not keys:
            return []
        sql = ENTITIES.replace("{columns}", columns) + ", ".join(["%s"] * len(keys)) + ")"
        return self._execute(sql, [self._document_id, self._epoch, *keys])

    def _known_relations(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Known]:
        """The stored relations by the primary keys of their entities."""
        found: dict[tuple[int, int], Known] = {}
        for first in range(0, len(pairs), PAIRS_AT_ONCE):
            some = pairs[first : first + PAIRS_AT_ONCE]
            rows = self._execute(
                KNOWN_RELATIONS + ", ".join(["(%s, %s)"] * len(some)) + ")",
                [self._document_id, *(each for pair in some for each in pair)],
            )
            for pk, source, target, evidence in rows:
                found[source, target] = pk, json.loads(evidence)
        return found

    def _create_relations(self, new: Sequence[tuple[str | int, ...]]) -> None:
        self._execute_many(
            "INSERT INTO {relation} (document_id, epoch, source_id, target_id, evidence) "
            "VALUES (%s, %s, %s, %s, %s)",
            new,
        )

    def _add_mentions(
        self, model: type[Row], known: Mapping[Key, Known], found: Mapping[Key, Sequence[Mention]]
    ) -> None:
        changed: list[tuple[str, int]] = []
        for key, (pk, evidence) in known.items():
            new = [mention for mention in found[key] if mention not in evidence]
            if new and len(evidence) < MAX_MENTIONS:
                changed.append((_json(evidence + new), pk))
        self._execute_many(NEW_MENTIONS[model], changed)

    def _execute(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(self._named(sql), parameters)
            return cursor.fetchall() if cursor.description else []

    def _execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            with self._connection.cursor() as cursor:
                cursor.executemany(self._named(sql), rows)

    @property
    def _connection(self) -> BaseDatabaseWrapper:
        """The connection of this thread."""
        return connections[self._using]

    def _named(self, sql: str) -> str:
        quoted = self._connection.ops.quote_name
        entity, relation = (quoted(model._meta.db_table) for model in (Entity, Relation))
        return sql.format(entity=entity, relation=relation)


def _json(mentions: Sequence[Mention]) -> str:
    return json.dumps(mentions[:MAX_MENTIONS])


class MentionCount(models.Func):
    """SQL: of an entity or relation."""

    output_field = models.IntegerField()

    def __init__(self) -> None:
        super().__init__("evidence")

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        return self.as_sql(compiler, connection, function="json_array_length")

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        return self.as_sql(compiler, connection, function="jsonb_array_length")


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
