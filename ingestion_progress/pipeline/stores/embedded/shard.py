"""A collection in Qdrant Edge. Arguments and results are values of JSON.

Edge has written an operation to its log when it returns, and repeats it after a crash of the
process. As in a Qdrant server, a crash of the machine may undo what was written since `flush`.
Its functions keep Python's global lock, so other threads wait for them: a search of 100,000 chunks
takes a millisecond, a write of 64 chunks some 5, a flush as long as 20 to 30 waits for the disk,
and merging segments seconds.

The vectors of a point or query are {"sparse": [ids of words, their weights]}, and perhaps "model",
the name of a dense vector, and "dense", its numbers: 4 bytes each, as base64.
"""

import json
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from ingestion_progress.pipeline.stores.chunk_id import point_id, positioned
from ingestion_progress.pipeline.stores.embedded.queries import (
    POSITION,
    VECTOR,
    any_of,
    between,
    named,
    numbers,
    of_edition,
    query_request,
)

INDEXED = {
    "document_id": edge.PayloadSchemaType.Keyword,
    "epoch": edge.PayloadSchemaType.Keyword,
    "language": edge.PayloadSchemaType.Keyword,
    "page": edge.PayloadSchemaType.Integer,
    POSITION: edge.PayloadSchemaType.Integer,
}
# Raised when the folder changes so that older versions cannot read it.
FORMAT = 1
FORMAT_NAME = "format.json"
PAGE = 256
# The most pages of a document that are counted.
MAX_PAGES = 100_000
# What Edge says about a vector of another length.
OF_DIMENSIONS = ("Vector dimension error", "already exists with different parameters")


class UnknownFormat(Exception):
    """The folder was written by a newer version."""


class OtherDimensions(Exception):
    """A dense vector has another length than others of the same name."""


class Shard:
    """Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Opens the folder, or creates it. Raises OSError, UnknownFormat, and what Edge raises."""
        self._path = path
        self._is_flushed = True
        self._models: set[str] = set()
        self._adding = threading.Lock()
        if not path.exists():
            _create(path)
        if _format_of(path) > FORMAT:
            raise UnknownFormat
        self._edge = edge.EdgeShard.load(str(path))
        self._inode = path.stat().st_ino

    def is_gone(self) -> bool:
        """Was the folder deleted or replaced?"""
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def write(self, points: Sequence[Sequence[Any]]) -> None:
        """Points: id, vectors, payload. Overwrites points with these ids."""
        self._add_models(vectors for _, vectors, _ in points)
        self._upsert([edge.Point(key, named(each), payload) for key, each, payload in points])

    def replace_vectors(self, points: Sequence[Sequence[Any]]) -> None:
        """Points: id, vectors, language. Skips those that do not exist."""
        self._add_models(vectors for _, vectors, _ in points)
        found = self._edge.retrieve([key for key, *_ in points], True, False)  # noqa: FBT003 (payload, vector)
        payloads = {str(record.id): record.payload or {} for record in found}
        changed = [
            edge.Point(key, named(vectors), positioned(payloads[key], language=language))
            for key, vectors, language in points
            if key in payloads
        ]
        self._upsert(changed, edge.UpdateMode.UpdateOnly)

    def discard(self, document_id: str, epoch: str | None) -> None:
        chunks = of_edition(document_id, epoch)
        self._update(edge.UpdateOperation.delete_points_by_filter(chunks))

    def chunks(self, document_id: str, epoch: str) -> list[str]:
        """The keys of the chunks of an edition."""
        pages = self._pages(of_edition(document_id, epoch), with_payload=["chunk"])
        return [record.payload["chunk"] for page in pages for record in page]

    def read(self, document_id: str, epoch: str, chunks: Sequence[str]) -> list[Any]:
        """The payloads of these chunks of an edition."""
        if epoch:
            ids: list[Any] = [point_id(document_id, epoch, chunk) for chunk in chunks]
            return [each.payload for each in self._edge.retrieve(ids, True, False)]  # noqa: FBT003 (payload, vector)
        found = edge.Filter(must=[of_edition(document_id, epoch), any_of("chunk", chunks)])
        return [record.payload for page in self._pages(found) for record in page]

    def count_between(self, document_id: str, epoch: str, first: int, end: int) -> int:
        """The number of chunks from one position until before another: 30 ms for 100,000."""
        chunks = edge.Filter(must=[of_edition(document_id, epoch), between(first, end)])
        return self._edge.count(edge.CountRequest(filter=chunks))

    def read_from(self, document_id: str, epoch: str, position: int, limit: int) -> list[Any]:
        """The payloads of chunks in their order: milliseconds, also among 100,000."""
        if POSITION not in self._edge.info().payload_schema:
            return []
        order = edge.OrderBy(POSITION, edge.Direction.Asc, position)
        chunks = of_edition(document_id, epoch)
        request = edge.ScrollRequest(limit=limit, filter=chunks, with_payload=True, order_by=order)
        return [record.payload for record in self._edge.scroll(request)[0]]

    def copy(self, document_id: str, former: str, epoch: str, chunks: Sequence[str]) -> None:
        """Copies these chunks of an edition into another one."""
        wanted = set(chunks)
        for page in self._pages(of_edition(document_id, former), with_vector=True):
            payloads = [(record, record.payload) for record in page]
            self._upsert(
                [
                    edge.Point(
                        point_id(document_id, epoch, payload["chunk"]),
                        record.vector,
                        positioned(payload, epoch=epoch),
                    )
                    for record, payload in payloads
                    if payload["chunk"] in wanted
                ]
            )

    def search(
        self,
        vectors: Mapping[str, Any],
        dense_weight: float,
        limit: int,
        hidden: Sequence[Sequence[str]],
        *,
        documents: Sequence[str] | None,
        pages: Sequence[int],
        languages: Sequence[str],
    ) -> list[tuple[dict[str, Any], float]]:
        """Payloads and scores, best first."""
        must: list[Any] = [] if documents is None else [any_of("document_id", documents)]
        must += [any_of("page", pages)] if pages else []
        must += [any_of("language", languages)] if languages else []
        must_not: list[Any] = [of_edition(document_id, epoch) for document_id, epoch in hidden]
        chunks = edge.Filter(must=must, must_not=must_not) if must or must_not else None
        self._add_models([vectors])
        request = query_request(vectors, dense_weight, limit, chunks)
        with _other_dimensions():
            return [(point.payload or {}, point.score) for point in self._edge.query(request)]

    def count(self, document_id: str, epoch: str | None) -> int:
        return self._edge.count(edge.CountRequest(filter=of_edition(document_id, epoch)))

    def count_by_page(self, document_id: str, epoch: str) -> list[tuple[Any, int]]:
        """Pages and their chunks, by the index of pages: 0.4 s for 100,000 chunks."""
        chunks = of_edition(document_id, epoch)
        request = edge.FacetRequest("page", limit=MAX_PAGES, exact=True, filter=chunks)
        return [(hit.value, hit.count) for hit in self._edge.facet(request).hits]

    def page(self, offset: str | None) -> tuple[list[tuple[str, Any]], str | None]:
        """Ids and payloads of some points, and the offset of the next page."""
        records, following = self._edge.scroll(
            edge.ScrollRequest(offset=offset, limit=PAGE, with_payload=True)
        )
        points = [(str(record.id), record.payload) for record in records]
        return points, None if following is None else str(following)

    def flush(self) -> None:
        """Waits until what was written is on the disk."""
        if not self._is_flushed:
            self._is_flushed = True  # before, because others write meanwhile
            self._edge.flush()

    def optimize(self) -> None:
        """Merges segments, frees the space of deleted points, and indexes.

        Creates the indexes that a folder of an older version lacks.
        """
        _create_indexes(self._edge)
        self._edge.optimize()

    def close(self) -> None:
        self._edge.close()

    def _add_models(self, vectors: Iterable[Mapping[str, Any]]) -> None:
        """Edge stores only vectors whose names it knows. Raises OtherDimensions."""
        with self._adding:
            for each in vectors:
                model = each.get("model", "")
                if model and model not in self._models:
                    size = len(numbers(each["dense"]))
                    added = edge.UpdateOperation.create_dense_vector(
                        model, size, edge.Distance.Cosine
                    )
                    with _other_dimensions():
                        self._update(added)
                    self._models.add(model)

    def _pages(self, chunks: edge.Filter, **options: Any) -> Any:
        offset, options = None, {"with_payload": True} | options
        while True:
            request = edge.ScrollRequest(offset=offset, limit=PAGE, filter=chunks, **options)
            records, offset = self._edge.scroll(request)
            yield records
            if offset is None:
                return

    def _upsert(
        self, points: list[edge.Point], mode: edge.UpdateMode = edge.UpdateMode.Upsert
    ) -> None:
        if points:
            with _other_dimensions():
                self._update(edge.UpdateOperation.upsert_points(points, update_mode=mode))

    def _update(self, operation: edge.UpdateOperation) -> None:
        self._edge.update(operation)
        self._is_flushed = False


def _create(path: Path) -> None:
    """Creates it in another folder first: a process that is killed leaves no half of a shard."""
    unfinished = path.with_name(f"{path.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    vectors = {VECTOR: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)}
    shard = edge.EdgeShard.create(str(unfinished), edge.EdgeConfig(sparse_vectors=vectors))
    try:
        _create_indexes(shard)
    finally:
        shard.close()
    (unfinished / FORMAT_NAME).write_text(json.dumps({"format": FORMAT}))
    unfinished.rename(path)


def _create_indexes(shard: edge.EdgeShard) -> None:
    for name, kind in INDEXED.items():
        shard.update(edge.UpdateOperation.create_field_index(name, kind))


def _format_of(path: Path) -> int:
    """0 if that cannot be read: then Edge says what is wrong."""
    try:
        return int(json.loads((path / FORMAT_NAME).read_text())["format"])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return 0


@contextmanager
def _other_dimensions() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if any(sign in str(error) for sign in OF_DIMENSIONS):
            raise OtherDimensions(str(error)) from error
        raise
