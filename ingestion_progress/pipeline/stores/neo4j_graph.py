"""The graph in Neo4j: nodes `Entity` and relationships `RELATED_TO`.

A node has the properties `document`, `epoch`, `key` and `name`. Nodes and relationships have two
lists that belong together: `chunks`, the keys of the chunks that mention them, and `pages`, where 0
stands for a format without pages. A relationship leads from the smaller key to the larger one.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, TypeAlias

from neo4j import ManagedTransaction

from ingestion_progress.exceptions import JobCancelled, JobSuperseded
from ingestion_progress.pipeline.documents.edition_writers import (
    is_to_be_continued,
    raise_if_not_writer,
)
from ingestion_progress.pipeline.stores import neo4j_server
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

Rows: TypeAlias = Sequence[Mapping[str, Any]]

# Nodes or relationships in one statement.
BATCH = 1000

NEW_MENTIONS = """
WITH found, row,
    [i IN range(0, size(row.chunks) - 1) WHERE NOT row.chunks[i] IN found.chunks] AS new
SET found.chunks = (found.chunks + [i IN new | row.chunks[i]])[..$most],
    found.pages = (found.pages + [i IN new | row.pages[i]])[..$most]
"""
MENTIONS = """found.chunks AS chunks, found.pages AS pages,
    coalesce(found.types, [chunk IN found.chunks | ""]) AS types,
    coalesce(found.reverses, [chunk IN found.chunks | ""]) AS reverses"""
MERGE_ENTITIES = f"""
UNWIND $rows AS row
MERGE (found:Entity {{document: $document, epoch: $epoch, key: row.key}})
ON CREATE SET found.name = row.name, found.chunks = [], found.pages = []
{NEW_MENTIONS}
"""
MERGE_RELATIONS = """
UNWIND $rows AS row
MATCH (source:Entity {document: $document, epoch: $epoch, key: row.source})
MATCH (target:Entity {document: $document, epoch: $epoch, key: row.target})
MERGE (source)-[found:RELATED_TO]->(target)
ON CREATE SET found.chunks = [], found.pages = [], found.types = [], found.reverses = []
WITH found, row,
    [i IN range(0, size(row.chunks) - 1) WHERE NOT row.chunks[i] IN found.chunks] AS new,
    coalesce(found.types, [chunk IN found.chunks | ""]) AS types,
    coalesce(found.reverses, [chunk IN found.chunks | ""]) AS reverses
SET found.chunks = (found.chunks + [i IN new | row.chunks[i]])[..$most],
    found.pages = (found.pages + [i IN new | row.pages[i]])[..$most],
    found.types = (types + [i IN new | row.types[i]])[..$most],
    found.reverses = (reverses + [i IN new | row.reverses[i]])[..$most]
"""
ENTITIES = "MATCH (found:Entity {document: $document, epoch: $epoch}) "
RELATIONS = (
    "MATCH (source:Entity {document: $document, epoch: $epoch})-[found:RELATED_TO]->(target) "
)
# The rank is 0 for all, or the number of mentions.
LIST_ENTITIES = f"""
{ENTITIES} WITH found, CASE WHEN $ranked THEN -size(found.chunks) ELSE 0 END AS rank
RETURN found.name, found.chunks, found.pages
ORDER BY rank, found.key SKIP $offset LIMIT $limit
"""
LIST_RELATIONS = f"""
{RELATIONS}
WITH source, target, found, CASE WHEN $ranked THEN -size(found.chunks) ELSE 0 END AS rank
RETURN source.name, target.name, {MENTIONS}
ORDER BY rank, source.key, target.key SKIP $offset LIMIT $limit
"""
ENTITIES_AFTER = f"""
{ENTITIES} WHERE found.key > $after
RETURN found.key AS key, found.name AS name, found.chunks AS chunks, found.pages AS pages
ORDER BY key LIMIT $limit
"""
RELATIONS_OF = f"""
{RELATIONS} WHERE source.key IN $keys
RETURN source.key AS source, target.key AS target, {MENTIONS}
"""
ENTITIES_MENTIONED = f"""
{ENTITIES} WHERE any(chunk IN found.chunks WHERE chunk IN $chunks)
RETURN found.name, [chunk IN found.chunks WHERE chunk IN $chunks] ORDER BY found.key
"""
RELATIONS_MENTIONED = f"""
{RELATIONS} WHERE any(chunk IN found.chunks WHERE chunk IN $chunks)
WITH source, target, {MENTIONS},
    [i IN range(0, size(found.chunks) - 1) WHERE found.chunks[i] IN $chunks] AS places
RETURN source.name, target.name, [i IN places | chunks[i]], [i IN places | pages[i]],
    [i IN places | types[i]], [i IN places | reverses[i]]
ORDER BY source.key, target.key
"""
DISCARD = """
MATCH (found:Entity {document: $document}) WHERE $epoch IS NULL OR found.epoch = $epoch
WITH found LIMIT $limit DETACH DELETE found
"""


class Neo4jGraph:
    """A GraphStore."""

    def writer(self, document_id: str, job_id: str, epoch: str) -> "Neo4jWriter":
        return Neo4jWriter(document_id, job_id, epoch)

    def count(self, document_id: str, epoch: str) -> GraphWrites:
        edition = {"document": document_id, "epoch": epoch}
        entities = _read(f"{ENTITIES} RETURN count(found) AS number", edition)
        relations = _read(f"{RELATIONS} RETURN count(found) AS number", edition)
        return GraphWrites(entities=entities[0]["number"], relations=relations[0]["number"])

    def entities(
        self,
        document_id: str,
        epoch: str,
        *,
        offset: int,
        limit: int,
        most_mentioned_first: bool = False,
    ) -> list[StoredEntity]:
        page: dict[str, Any] = {"document": document_id, "epoch": epoch}
        page |= {"offset": offset, "limit": limit, "ranked": most_mentioned_first}
        return [
            StoredEntity(name=name, mentions=_mentions(chunks, pages))
            for name, chunks, pages in map(dict.values, _read(LIST_ENTITIES, page))
        ]

    def relations(
        self,
        document_id: str,
        epoch: str,
        *,
        offset: int,
        limit: int,
        most_mentioned_first: bool = False,
    ) -> list[StoredRelation]:
        page: dict[str, Any] = {"document": document_id, "epoch": epoch}
        page |= {"offset": offset, "limit": limit, "ranked": most_mentioned_first}
        return [
            StoredRelation(source=source, target=target, mentions=_mentions(*lists))
            for source, target, *lists in map(dict.values, _read(LIST_RELATIONS, page))
        ]

    def mentioned(self, places: Collection[Place]) -> Mentioned:
        found = Mentioned()
        editions = defaultdict[tuple[str, str], list[str]](list)
        for document_id, epoch, chunk in places:
            editions[document_id, epoch].append(chunk)
        for (document_id, epoch), keys in editions.items():
            asked = {"document": document_id, "epoch": epoch, "chunks": keys}
            for name, chunks in map(dict.values, _read(ENTITIES_MENTIONED, asked)):
                for chunk in chunks:
                    found.entities[document_id, epoch, chunk].append(name)
            for source, target, *lists in map(dict.values, _read(RELATIONS_MENTIONED, asked)):
                mentions = _mentions(*lists)
                relation = StoredRelation(source=source, target=target, mentions=mentions)
                for mention in mentions:
                    place = (document_id, epoch, str(mention["chunk"]))
                    found.relations[place] += relation.stated_by(mention)
        return found

    def discard(self, document_id: str, epoch: str | None = None) -> None:
        some = {"document": document_id, "epoch": epoch, "limit": BATCH}
        while neo4j_server.write(partial(_deleted, some)):
            pass


class Neo4jWriter:
    """A GraphWriter. Counts what the server reports as created."""

    def __init__(self, document_id: str, job_id: str, epoch: str) -> None:
        self._writer = (document_id, job_id, epoch)
        self._edition = {"document": document_id, "epoch": epoch}
        self._lock = threading.Lock()
        self._counted = GraphWrites(entities=0, relations=0)
        # False after an error: only the server knows what was committed.
        self._is_known = True

    def adopt(self, former: Sequence[str]) -> GraphWrites:
        with self._lock:
            for epoch in former:
                edition = self._edition | {"epoch": epoch}
                for rows in _pages_of_entities(edition):
                    self._merge(rows, ())
                for rows in _pages_of_entities(edition):  # now the targets of all exist
                    keys = [row["key"] for row in rows]
                    self._merge((), _read(RELATIONS_OF, edition | {"keys": keys}))
            self._counted = self._stored()
            self._is_known = True
        return self._counted

    def write(self, results: Sequence[Extracted]) -> GraphWrites:
        found = Found(results)
        # In one order, so that transactions of several workers do not lock each other.
        entities = [
            {"key": key, "name": found.names[key], **_lists(mentions)}
            for key, mentions in sorted(found.entities.items())
        ]
        relations = [
            {"source": source, "target": target, **_lists(mentions)}
            for (source, target), mentions in sorted(found.relations.items())
        ]
        with self._lock:
            is_known, self._is_known = self._is_known, False
            new = self._merge(entities, relations)
            if not is_known:
                new = self._stored() - self._counted
            self._counted += new
            self._is_known = True
        return new

    def _merge(self, entities: Rows, relations: Rows) -> GraphWrites:
        raise_if_not_writer(*self._writer)
        writes = neo4j_server.write(partial(_merged, self._edition, entities, relations))
        try:
            raise_if_not_writer(*self._writer)
        except (JobSuperseded, JobCancelled):
            # Unlike that of the database, the transaction kept nobody from discarding the edition.
            if not is_to_be_continued(*self._writer):
                Neo4jGraph().discard(self._edition["document"], self._edition["epoch"])
            raise
        return writes

    def _stored(self) -> GraphWrites:
        return Neo4jGraph().count(self._edition["document"], self._edition["epoch"])


def _merged(
    edition: Mapping[str, str], entities: Rows, relations: Rows, transaction: ManagedTransaction
) -> GraphWrites:
    counts = []
    for statement, rows in ((MERGE_ENTITIES, entities), (MERGE_RELATIONS, relations)):
        for first in range(0, len(rows), BATCH):
            some = {**edition, "most": MAX_MENTIONS, "rows": rows[first : first + BATCH]}
            counts.append(transaction.run(statement, some).consume().counters)
    return GraphWrites(
        entities=sum(each.nodes_created for each in counts),
        relations=sum(each.relationships_created for each in counts),
    )


def _deleted(some: dict[str, Any], transaction: ManagedTransaction) -> int:
    return transaction.run(DISCARD, some).consume().counters.nodes_deleted


def _pages_of_entities(edition: Mapping[str, str]) -> Iterator[Rows]:
    after = ""
    while rows := _read(ENTITIES_AFTER, {**edition, "after": after, "limit": BATCH}):
        yield rows
        after = rows[-1]["key"]


def _read(statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return neo4j_server.read(partial(_found, statement, parameters))


def _found(
    statement: str, parameters: dict[str, Any], transaction: ManagedTransaction
) -> list[dict[str, Any]]:
    return transaction.run(statement, parameters).data()


def _lists(mentions: Sequence[Mention]) -> dict[str, Any]:
    """Mentions as properties, which cannot contain null."""
    return {
        "chunks": [mention["chunk"] for mention in mentions],
        "pages": [mention["page"] or 0 for mention in mentions],
        "types": [mention.get("type", "") for mention in mentions],
        "reverses": [mention.get("reverse", "") for mention in mentions],
    }


def _mentions(
    chunks: Sequence[str],
    pages: Sequence[int],
    types: Sequence[str] = (),
    reverses: Sequence[str] = (),
) -> list[Mention]:
    return [
        {"chunk": chunk, "page": page or None}
        | ({"type": there} if there else {})
        | ({"reverse": back} if back else {})
        for chunk, page, there, back in zip_longest(chunks, pages, types, reverses)
    ]
