"""The last three stages: chunking, embedding and extraction run concurrently."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, Self, TypeAlias

from ingestion_progress.concurrency.thread_pool import Stop, ThreadPool
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.components import Components
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.retries import patiently
from ingestion_progress.pipeline.stages import Chunk
from ingestion_progress.pipeline.stages.chunk_embedding import ChunkEmbedding
from ingestion_progress.pipeline.stages.chunk_results import NOT_OF_A_CHUNK, ChunkResults
from ingestion_progress.pipeline.stages.extraction import Extractor
from ingestion_progress.pipeline.stages.languages import DocumentLanguages
from ingestion_progress.pipeline.stages.parsing import ParsedDocument
from ingestion_progress.pipeline.stores.graph import Extracted, GraphWrites
from ingestion_progress.tracker import JobTracker, StageTracker

logger = logging.getLogger("ingestion_progress.pipeline")

# Chunks in one request to Qdrant: searches wait while the embedded one writes it, some 5 ms.
EMBEDDING_BATCH = 64
EMBEDDING_CAPACITY = 64
EXTRACTION_CAPACITY_PER_WORKER = 8
# Chunks in one transaction, if they are extracted faster than they are written.
GRAPH_BATCH = 64
# A chunk waits this long for others, so that those of a short document are written together.
GATHER_SECONDS = 0.1

Pools: TypeAlias = Sequence[tuple[StageTracker, "ChunkPool"]]
NOT_EMBEDDED = StoredSentence("Not one of %(number)s chunks could be embedded: %(reason)s")
NOT_EXTRACTED = StoredSentence(
    "Not one of %(number)s chunks could be read for entities: %(reason)s"
)


class ChunkPool(Protocol):
    """Processes chunks; leaving its block waits for them."""

    def put(self, item: Chunk, /) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: object, /, *exc_info: object) -> None: ...


class ChunkStream:
    """Chunks in the caller's thread, embeds in another, extracts in a pool of threads."""

    def __init__(
        self, job: JobTracker, document: Document, components: Components, *, continues: bool
    ) -> None:
        """`continues`: an earlier attempt may have done some of the chunks."""
        self._job = job
        self._continues = continues
        self._document = document
        self._components = components
        self._graph = components.graph.writer(document.pk, job.job_id, job.epoch)
        self._extractors = defaultdict[int, Extractor](components.extractor)
        self._embedding = job.stage("embedding", unit="chunks")
        self._extraction = job.stage("extraction", unit="chunks")
        self._languages = DocumentLanguages("")
        self._stop = Stop()
        self._embedded = ChunkResults(NOT_EMBEDDED)
        self._extracted = ChunkResults(NOT_EXTRACTED)
        self._graph_pool = ThreadPool(
            self._write_graph,
            name="graph",
            capacity=GRAPH_BATCH,
            batch_size=GRAPH_BATCH,
            gather_seconds=GATHER_SECONDS,
            check=job.raise_if_cancelled,
            stop=self._stop,
        )

    def run(self, content: ParsedDocument) -> None:
        """Raises NothingIngested if no chunk could be embedded, or none extracted from."""
        with self._extraction:
            with self._graph_pool, self._extraction_pool() as extraction, self._embedding:
                with self._embedding_pool() as embedding:
                    pools = ((self._embedding, embedding), (self._extraction, extraction))
                    self._cut(content, pools)
                self._embedded.raise_if_all_failed()
            self._after_extraction()
            self._extracted.raise_if_all_failed()

    def _after_extraction(self) -> None:
        """When all chunks are extracted and written."""

    def _extraction_pool(self) -> ChunkPool:
        return ThreadPool(
            self._extract,
            name="extraction",
            size=conf.extraction_workers,
            capacity=conf.extraction_workers * EXTRACTION_CAPACITY_PER_WORKER,
            check=self._job.raise_if_cancelled,
            stop=self._stop,
            on_depth=self._job.set_queue_depth,
        )

    def _embedding_pool(self) -> ChunkPool:
        return ThreadPool(
            ChunkEmbedding(
                self._job,
                self._document,
                self._components,
                stage=self._embedding,
                results=self._embedded,
                stop=self._stop,
            ).embed,
            name="embedding",
            capacity=EMBEDDING_CAPACITY,
            batch_size=EMBEDDING_BATCH,
            gather_seconds=GATHER_SECONDS,
            check=self._job.raise_if_cancelled,
            stop=self._stop,
        )

    def _cut(self, content: ParsedDocument, pools: Pools) -> None:
        """Puts the chunks into each pool unless its stage has done them: those of the pages, then
        the pictures. All pages are cut in each attempt, which gives the same chunks.

        The totals are estimates until the last page is cut.
        """
        chunker = self._components.chunker
        self._languages = DocumentLanguages.of_pages(content.pages, given=self._document.language)
        remaining = len(content.picture_chunks) + sum(map(chunker.expected, content.pages))
        count = 0
        with self._job.stage("chunking", total=len(content.pages), unit="pages") as stage:
            for index, page in enumerate(content.pages):
                remaining -= chunker.expected(page)
                with stage.in_flight():
                    for chunk in chunker.chunks(page, first_number=count + 1):
                        self._job.raise_if_cancelled()
                        count += 1
                        rest = remaining + chunker.expected(page, after=chunk.end)
                        self._set_totals(count, count + rest, is_estimate=True)
                        self._put(chunk, pools)
                stage.advance(key=index)
            for chunk in content.picture_chunks:
                self._put(chunk, pools)
            count += len(content.picture_chunks)
            self._set_totals(count, count)

    def _put(self, chunk: Chunk, pools: Pools) -> None:
        chunk = replace(chunk, language=self._languages.of_chunk(chunk.text))
        for stage, pool in pools:
            if not (self._continues and stage.is_done(chunk.number)):
                pool.put(chunk)
            elif stage is self._embedding:
                self._embedded.has_former = True
            else:
                self._extracted.has_former = True

    def _set_totals(self, chunks: int, expected: int, *, is_estimate: bool = False) -> None:
        self._job.set_totals(chunks=chunks)
        for stage in (self._embedding, self._extraction):
            stage.set(total=expected, is_estimate=is_estimate)

    def _extract(self, number: int, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            with (
                self._extracted.attempt(self._extraction, chunk),
                self._job.worker(number, chunk=chunk.key) as slot,
                self._extraction.in_flight(),
            ):
                extraction = self._extractors[number].extract(chunk.text, chunk.language)
                slot.progress(50)
                self._graph_pool.put((chunk, extraction))

    def _write_graph(self, _number: int, results: Sequence[Extracted]) -> None:
        """Chunks that cannot be written with others are written one by one."""
        if len(results) > 1:
            try:
                self._write_results(results)
            except NOT_OF_A_CHUNK:
                raise
            except Exception:
                logger.exception("chunks_not_written_together")
            else:
                return
        for result in results:
            with self._extracted.isolated(self._extraction, result[0]):
                self._write_results([result])

    def _write_results(self, results: Sequence[Extracted]) -> None:
        with self._extraction.in_flight(len(results)):
            self._count(patiently(self._job, partial(self._graph.write, results)))
        for chunk, _ in results:
            self._extraction.advance(key=chunk.number)

    def _count(self, writes: GraphWrites) -> None:
        self._job.count(
            entities_total=writes.entities,
            relations_total=writes.relations,
            neo4j_writes=writes.entities + writes.relations,
        )
