"""Several workers extract from the chunks of one document (CHUNKS_PER_TASK).

The worker that ingests the document sends batches of chunks as tasks, and extracts as well: the
other workers take the oldest batch first, and it takes the newest that is not done. So it never
waits for them, and a task that is lost, late or delivered twice costs nothing but time. A chunk
has a key, which counts once. Every write names the epoch, so a task of an older attempt does
nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Self

from django.utils.module_loading import import_string

from ingestion_progress.concurrency.thread_pool import ThreadPool
from ingestion_progress.exceptions import (
    InvalidTransition,
    JobCancelled,
    JobNotFound,
    JobSuperseded,
)
from ingestion_progress.pipeline import components
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.retries import patiently
from ingestion_progress.pipeline.stages import Chunk
from ingestion_progress.pipeline.stages.chunk_stream import ChunkPool, ChunkStream
from ingestion_progress.pipeline.stores import graph_store
from ingestion_progress.pipeline.stores.graph import GraphWrites
from ingestion_progress.tracker import JobTracker, attach

logger = logging.getLogger("ingestion_progress.pipeline")

TASK = "ingestion_progress.pipeline.tasks.extract_chunks"
# Before documents that wait: they would keep this one from its end.
PRIORITY = 50
# How often it asks what others have done.
LOOK_SECONDS = 0.5


class SharedChunkStream(ChunkStream):
    """A `ChunkStream` whose chunks other workers extract as well."""

    def _extraction_pool(self) -> ChunkPool:
        batches = Batches(self._is_done, self._look)
        local = ThreadPool[int](
            lambda number, _: self._extract(number, batches.take()),
            name="extraction",
            size=conf.extraction_workers,
            capacity=0,  # all chunks, because the others are not to wait for this worker
            check=self._job.raise_if_cancelled,
            stop=self._stop,
            on_depth=lambda depth: self._job.set_queue_depth(depth * conf.chunks_per_task),
        )
        return SharedPool(local, batches, self._send)

    def _after_extraction(self) -> None:
        self._look()

    def _count(self, writes: GraphWrites) -> None:
        """`_look` counts what all have written."""

    def _is_done(self, chunk: Chunk) -> bool:
        """Has another worker done it?"""
        is_done = self._extraction.is_done(chunk.number)
        self._extracted.has_former |= is_done
        return is_done

    def _look(self) -> None:
        """Learns what is done, and shows how much is stored."""
        patiently(self._job, self._extraction.reload_keys)
        edition = (self._document.pk, self._job.epoch)
        stored = patiently(self._job, partial(self._components.graph.count, *edition))
        self._job.set_metrics(
            entities_total=stored.entities,
            relations_total=stored.relations,
            neo4j_writes=stored.entities + stored.relations,
        )

    def _send(self, chunks: Sequence[Chunk]) -> None:
        task: Any = import_string(TASK)
        if task.get_backend().supports_priority:
            task = task.using(priority=PRIORITY)
        parts = [asdict(chunk) for chunk in chunks]
        task.enqueue(self._job.job_id, self._job.epoch, self._document.pk, parts)


class Batches:
    """The batches that are not known to be done. Thread-safe."""

    def __init__(self, is_done: Callable[[Chunk], bool], look: Callable[[], None]) -> None:
        self._is_done = is_done
        self._look = look
        self._looked_at = 0.0
        self._waiting: list[Sequence[Chunk]] = []
        self._lock = threading.Lock()
        self._looking = threading.Lock()

    def add(self, chunks: Sequence[Chunk]) -> None:
        with self._lock:
            self._waiting.append(chunks)

    def take(self) -> Sequence[Chunk]:
        """What is to be done of the newest batch; empty if all are done."""
        self._look_if_due()
        while chunks := self._pop():
            if left := [chunk for chunk in chunks if not self._is_done(chunk)]:
                return left
        return ()

    def _look_if_due(self) -> None:
        """One thread looks; while the database does not answer, the others extract."""
        is_due = time.monotonic() > self._looked_at + LOOK_SECONDS or len(self._waiting) < 2
        if is_due and self._looking.acquire(blocking=False):
            try:
                self._look()
                self._looked_at = time.monotonic()
            finally:
                self._looking.release()

    def _pop(self) -> Sequence[Chunk]:
        with self._lock:
            return self._waiting.pop() if self._waiting else ()


class SharedPool:
    """Sends each full batch to the other workers, and has the local threads extract as well."""

    def __init__(
        self,
        local: ThreadPool[int],
        batches: Batches,
        send: Callable[[Sequence[Chunk]], None],
    ) -> None:
        self._local = local
        self._batches = batches
        self._send = send
        self._batch: list[Chunk] = []
        self._is_sending = True

    def put(self, item: Chunk, /) -> None:
        self._batch.append(item)
        if len(self._batch) >= conf.chunks_per_task:
            self._add()

    def _add(self) -> None:
        chunks, self._batch = self._batch, []
        self._batches.add(chunks)
        if self._is_sending:
            try:
                self._send(chunks)
            except Exception:
                self._is_sending = False
                logger.exception("chunks_not_sent")  # this worker extracts them
        self._local.put(len(chunks))

    def __enter__(self) -> Self:
        self._local.__enter__()
        return self

    def __exit__(self, kind: object, /, *exc_info: object) -> None:
        try:
            if kind is None and self._batch:
                self._add()
        except BaseException as error:
            self._local.__exit__(type(error), error, error.__traceback__)
            raise
        self._local.__exit__(kind, *exc_info)


def extract_part(
    job_id: str, epoch: str, document_id: str, chunks: Sequence[dict[str, Any]]
) -> None:
    """What another worker does. Leaves a chunk that fails to the worker that ingests."""
    job = attach(job_id)
    try:
        job.start()
    except (JobNotFound, InvalidTransition):
        return
    with job:
        if job.epoch == epoch:
            _extract(job, document_id, [Chunk(**fields) for fields in chunks])


def _extract(job: JobTracker, document_id: str, chunks: Sequence[Chunk]) -> None:
    stage = job.stage("extraction")
    graph = graph_store().writer(document_id, job.job_id, job.epoch)
    extractor = components.extractor()
    done = 0
    try:
        for chunk in chunks:
            job.raise_if_cancelled()
            if not stage.is_done(chunk.number):
                extraction = extractor.extract(chunk.text, chunk.language)
                patiently(job, partial(graph.write, [(chunk, extraction)]))
                stage.advance(key=chunk.number)
                done += 1
    except (JobCancelled, JobSuperseded):
        return
    except Exception:
        logger.exception("chunks_not_extracted", extra={"job_id": job.job_id})
    logger.info("chunks_extracted", extra={"job_id": job.job_id, "chunks": done})
