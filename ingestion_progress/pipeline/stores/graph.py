"""The graph of what documents speak about, in two tables."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from django.db import models, router, transaction

from ingestion_progress.pipeline.models import Entity, Relation

if TYPE_CHECKING:
    from ingestion_progress.pipeline.documents import Chunk
    from ingestion_progress.pipeline.stages.extraction import Findings

Row = TypeVar("Row", Entity, Relation)
# Of one entity; what stands everywhere is not found better with more.
MAX_EVIDENCE = 200


@dataclass(frozen=True, kw_only=True)
class GraphWrites:
    """Rows that were made: what was there already is not counted again."""

    entities: int
    relations: int


class GraphStore(Protocol):
    def clear(self) -> None:
        """Forgets what an earlier ingestion of the document wrote."""
        ...

    def write(self, chunk: Chunk, findings: Findings) -> GraphWrites:
        """Adds what a chunk speaks about, all of it or nothing. Thread-safe."""
        ...


class DatabaseGraph:
    """The graph of one document, written by one job. Knows what it has written."""

    def __init__(self, document_id: str) -> None:
        self._document_id = document_id
        self._using = router.db_for_write(Entity)
        # SQLite has one writer; waiting here is cheaper than waiting for its file.
        self._lock = threading.Lock()
        self._entities: dict[str, Entity] = {}
        self._relations: dict[tuple[str, str], Relation] = {}

    def clear(self) -> None:
        with self._lock, transaction.atomic(using=self._using):
            for model in (Relation, Entity):
                model.objects.using(self._using).filter(document_id=self._document_id).delete()
            self._entities.clear()
            self._relations.clear()

    def write(self, chunk: Chunk, findings: Findings) -> GraphWrites:
        evidence = {"chunk": chunk.key, "page": chunk.page}
        with self._lock:
            with transaction.atomic(using=self._using):
                entities = self._write_entities(findings.entities, evidence)
                relations = self._write_relations(findings.relations, entities, evidence)
            # Only what is committed is known.
            self._entities |= entities
            self._relations |= relations
        return GraphWrites(entities=len(entities), relations=len(relations))

    def _write_entities(
        self, names: Mapping[str, str], evidence: Mapping[str, Any]
    ) -> dict[str, Entity]:
        self._add_evidence(
            Entity, (self._entities[key] for key in names if key in self._entities), evidence
        )
        new = {
            key: Entity(document_id=self._document_id, key=key, name=name, evidence=[evidence])
            for key, name in names.items()
            if key not in self._entities
        }
        Entity.objects.using(self._using).bulk_create(new.values())
        return new

    def _write_relations(
        self,
        pairs: Iterable[tuple[str, str]],
        new_entities: Mapping[str, Entity],
        evidence: Mapping[str, Any],
    ) -> dict[tuple[str, str], Relation]:
        entities = {**self._entities, **new_entities}
        pairs = list(pairs)
        self._add_evidence(
            Relation,
            (self._relations[pair] for pair in pairs if pair in self._relations),
            evidence,
        )
        new = {
            pair: Relation(
                document_id=self._document_id,
                source=entities[pair[0]],
                target=entities[pair[1]],
                evidence=[evidence],
            )
            for pair in pairs
            if pair not in self._relations
        }
        Relation.objects.using(self._using).bulk_create(new.values())
        return new

    def _add_evidence(
        self, model: type[Row], rows: Iterable[Row], evidence: Mapping[str, Any]
    ) -> None:
        changed: list[Row] = [row for row in rows if len(row.evidence) < MAX_EVIDENCE]
        for row in changed:
            row.evidence.append(evidence)
        if changed:
            manager: models.Manager[Row] = model._default_manager  # noqa: SLF001  (public by docs)
            manager.using(self._using).bulk_update(changed, ["evidence"])
