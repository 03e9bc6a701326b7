"""The last three stages at once: chunks stream from the cutter to Qdrant and to the graph."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ingestion_progress.exceptions import JobCancelled, JobSuperseded
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import NothingIngested, VectorStoreUnavailable
from ingestion_progress.pipeline.stages.chunking import Chunker, SemanticChunker
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder, Embedder
from ingestion_progress.pipeline.stages.extraction import Extractor, KeyphraseExtractor
from ingestion_progress.pipeline.stages.image_description import (
    ImageDescriber,
    SurroundingsDescriber,
)
from ingestion_progress.pipeline.stores.graph import DatabaseGraph, GraphStore
from ingestion_progress.pipeline.stores.vectors import QdrantStore, VectorStore
from ingestion_progress.pipeline.thread_pool import Crew
from ingestion_progress.tracker import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingestion_progress.pipeline.documents import Chunk
    from ingestion_progress.pipeline.models import Document
    from ingestion_progress.pipeline.stages.embedding import SparseVector
    from ingestion_progress.pipeline.stages.parsing import Content
    from ingestion_progress.tracker import JobTracker, StageTracker

logger = logging.getLogger("ingestion_progress.pipeline")

# Qdrant's local folder is locked per batch: large enough to be worth it, small enough to share.
EMBEDDING_BATCH = 64
EMBEDDING_CAPACITY = 64
EXTRACTION_CAPACITY_PER_WORKER = 8


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What does the work, each behind a small interface."""

    describer: ImageDescriber
    chunker: Chunker
    embedder: Embedder
    extractor: Callable[[], Extractor]
    """Makes one for each worker."""
    vectors: VectorStore
    graph: GraphStore

    @classmethod
    def of(cls, document_id: str) -> Self:
        return cls(
            describer=SurroundingsDescriber(),
            chunker=SemanticChunker(),
            embedder=Bm25Embedder(),
            extractor=KeyphraseExtractor,
            vectors=QdrantStore(),
            graph=DatabaseGraph(document_id),
        )


class ChunkStream:
    """Chunking in the caller's thread, embedding in one, extraction in a pool."""

    def __init__(self, job: JobTracker, document: Document, tools: Tools) -> None:
        self._job = job
        self._document = document
        self._tools = tools
        self._local = threading.local()
        self._embedding = job.stage("embedding", unit="chunks")
        self._extraction = job.stage("extraction", unit="chunks")
        self._embedded = Tally("embedded")
        self._extracted = Tally("read for entities")

    def run(self, content: Content) -> None:
        """Raises NothingIngested where not one chunk could be embedded, or extracted from."""
        with self._extraction:
            with self._extractors() as extractors, self._embedding:
                with self._embedders() as embedders:
                    self._cut(content, put=(embedders.put, extractors.put))
                self._embedded.raise_if_all_failed()
            self._extracted.raise_if_all_failed()

    def _extractors(self) -> Crew[Chunk]:
        return Crew(
            self._extract,
            name="extraction",
            size=conf.extraction_workers,
            capacity=conf.extraction_workers * EXTRACTION_CAPACITY_PER_WORKER,
            check=self._job.raise_if_cancelled,
            on_depth=self._job.set_queue_depth,
        )

    def _embedders(self) -> Crew[Chunk]:
        return Crew(
            self._embed,
            name="embedding",
            capacity=EMBEDDING_CAPACITY,
            batch_size=EMBEDDING_BATCH,
            check=self._job.raise_if_cancelled,
        )

    def _cut(self, content: Content, put: Sequence[Callable[[Chunk], None]]) -> None:
        """All chunks of the document, the pictures first, each put into every queue."""
        chunker = self._tools.chunker
        to_come = len(content.picture_chunks) + sum(map(chunker.expected, content.pages))
        known = 0
        with self._job.stage("chunking", total=len(content.pages), unit="pages") as stage:
            for page in stage.iterate(content.pages):
                to_come -= chunker.expected(page)
                with stage.in_flight():
                    for chunk in chunker.chunks(page, first_number=known + 1):
                        known += 1
                        self._expect(known, to_come + chunker.expected(page, after=chunk.end))
                        _put(chunk, put)
            for chunk in content.picture_chunks:
                known += 1
                _put(chunk, put)
            self._expect(known, 0)

    def _expect(self, known: int, to_come: int) -> None:
        """Totals are expected ones until the last page is cut, corrected with each chunk."""
        self._job.set_totals(chunks=known)
        for stage in (self._embedding, self._extraction):
            stage.set(total=known + to_come)

    def _embed(self, _number: int, chunks: Sequence[Chunk]) -> None:
        stage = self._embedding
        with stage.in_flight(len(chunks)):
            pairs: list[tuple[Chunk, SparseVector]] = []
            for chunk in chunks:
                with self._embedded.attempt(stage, chunk):
                    pairs.append((chunk, self._tools.embedder.embed(chunk.text)))
            written = self._tools.vectors.write(self._document.pk, self._document.name, pairs)
            self._job.count(qdrant_writes=written)
        stage.advance(len(chunks))

    def _extract(self, number: int, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            with (
                self._extracted.attempt(self._extraction, chunk),
                self._job.worker(number, chunk=chunk.key) as slot,
                self._extraction.in_flight(),
            ):
                findings = self._extractor().extract(chunk.text)
                slot.progress(50)
                writes = self._tools.graph.write(chunk, findings)
                self._job.count(
                    entities_total=writes.entities,
                    relations_total=writes.relations,
                    neo4j_writes=writes.entities + writes.relations,
                )
            self._extraction.advance()

    def _extractor(self) -> Extractor:
        if not hasattr(self._local, "extractor"):
            self._local.extractor = self._tools.extractor()
        extractor: Extractor = self._local.extractor
        return extractor


class Tally:
    """What was tried and what failed: one bad chunk is recorded, all of them are too many."""

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._lock = threading.Lock()
        self._tried = 0
        self._failed = 0
        self._last_reason = ""

    @contextmanager
    def attempt(self, stage: StageTracker, chunk: Chunk) -> Iterator[None]:
        """What goes wrong inside is recorded as this chunk's error and goes no further."""
        with self._lock:
            self._tried += 1
        try:
            yield
        except (JobCancelled, JobSuperseded, VectorStoreUnavailable):
            raise
        except Exception as error:
            logger.exception("chunk_failed", extra={"stage": stage.name, "chunk": chunk.key})
            with self._lock:
                self._failed += 1
                self._last_reason = reason_of(error)
            stage.record_error(reason_of(error), item=chunk.key)

    def raise_if_all_failed(self) -> None:
        if self._tried and self._failed == self._tried:
            raise NothingIngested(
                f"Not one of {self._tried} chunks could be {self._purpose}: {self._last_reason}"
            )


def _put(chunk: Chunk, queues: Sequence[Callable[[Chunk], None]]) -> None:
    for put in queues:
        put(chunk)
