"""Embeds the chunks of a document, and stores their vectors."""

import logging
from collections.abc import Sequence
from functools import partial

from ingestion_progress.concurrency.thread_pool import Stop
from ingestion_progress.pipeline.components import Components
from ingestion_progress.pipeline.documents.edition_writers import is_to_be_continued
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.retries import patiently
from ingestion_progress.pipeline.stages import Chunk, Embedding, SparseVector
from ingestion_progress.pipeline.stages.chunk_results import NOT_OF_A_CHUNK, ChunkResults
from ingestion_progress.pipeline.stages.dense_embedding import dense_vectors
from ingestion_progress.pipeline.stores.languages import add_languages
from ingestion_progress.pipeline.stores.vectors import EmbeddedChunk
from ingestion_progress.tracker import JobTracker, StageTracker

logger = logging.getLogger("ingestion_progress.pipeline")


class ChunkEmbedding:
    """The embedding of one run. Its calls follow each other, in one thread."""

    def __init__(
        self,
        job: JobTracker,
        document: Document,
        components: Components,
        *,
        stage: StageTracker,
        results: ChunkResults,
        stop: Stop,
    ) -> None:
        self._job = job
        self._document = document
        self._components = components
        self._stage = stage
        self._results = results
        self._stop = stop
        self._known_languages: set[str] = set()

    def embed(self, _number: int, chunks: Sequence[Chunk]) -> None:
        stage = self._stage
        with stage.in_flight(len(chunks)):
            sparse: list[tuple[Chunk, SparseVector]] = []
            for chunk in chunks:
                self._job.raise_if_cancelled()
                with self._results.attempt(stage, chunk):
                    vector = self._components.embedder.embed(chunk.text, chunk.language)
                    sparse.append((chunk, vector))
            pairs = self._with_dense(sparse)
            self._add_languages({chunk.language for chunk, _ in pairs})
            self._job.count(qdrant_writes=patiently(self._job, partial(self._write_vectors, pairs)))
        for chunk, _ in pairs:
            stage.advance(key=chunk.number)

    def _write_vectors(self, pairs: Sequence[EmbeddedChunk]) -> int:
        vectors, document_id, epoch = self._components.vectors, self._document.pk, self._job.epoch
        written = vectors.write(self._document, epoch, pairs)
        # A pool that stops does not wait for long: what it wrote may have been discarded already.
        if self._stop.is_set and not is_to_be_continued(document_id, self._job.job_id, epoch):
            vectors.discard(document_id, epoch)
        return written

    def _with_dense(self, sparse: Sequence[tuple[Chunk, SparseVector]]) -> list[EmbeddedChunk]:
        """Chunks that cannot be embedded with others are embedded one by one."""
        if len(sparse) > 1:
            try:
                return self._embedded_together(sparse)
            except NOT_OF_A_CHUNK:
                raise
            except Exception:
                logger.exception("chunks_not_embedded_together")
        pairs: list[EmbeddedChunk] = []
        for pair in sparse:
            self._job.raise_if_cancelled()
            with self._results.isolated(self._stage, pair[0]):
                pairs += self._embedded_together([pair])
        return pairs

    def _embedded_together(
        self, sparse: Sequence[tuple[Chunk, SparseVector]]
    ) -> list[EmbeddedChunk]:
        texts = [chunk.text for chunk, _ in sparse]
        dense = dense_vectors(self._components.dense_embedder, texts)
        return [
            (chunk, Embedding(words, meaning))
            for (chunk, words), meaning in zip(sparse, dense, strict=True)
        ]

    def _add_languages(self, languages: set[str]) -> None:
        if missing := languages - self._known_languages:
            patiently(self._job, partial(add_languages, missing))
            self._known_languages |= missing
