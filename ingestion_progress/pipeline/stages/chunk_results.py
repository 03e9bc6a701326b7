"""What became of the chunks in a stage: attempted, failed, or done before."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ingestion_progress.exceptions import JobCancelled, JobSuperseded
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import (
    GraphStoreUnavailable,
    ModelRefused,
    NothingIngested,
    VectorStoreUnavailable,
)
from ingestion_progress.pipeline.retries import PASSING
from ingestion_progress.pipeline.stages import Chunk
from ingestion_progress.tracker import StageTracker, reason_of

logger = logging.getLogger("ingestion_progress.pipeline")

# A cancellation, or a database, store or model that cannot be used.
NOT_OF_A_CHUNK = (
    JobCancelled,
    JobSuperseded,
    VectorStoreUnavailable,
    GraphStoreUnavailable,
    ModelRefused,
    *PASSING,
)


class ChunkResults:
    """Counts attempted and failed chunks of a stage, which fails only if all its chunks fail."""

    def __init__(self, all_failed: str) -> None:
        """`all_failed`: the template of the error."""
        self._all_failed = all_failed
        self._lock = threading.Lock()
        self._attempted = 0
        self._failed = 0
        self._last_reason = ""
        self.has_former = False
        """Has an earlier attempt or another worker done some chunks?"""

    @contextmanager
    def attempt(self, stage: StageTracker, chunk: Chunk) -> Iterator[None]:
        """The first step of a chunk in this stage."""
        with self._lock:
            self._attempted += 1
        with self.isolated(stage, chunk):
            yield

    @contextmanager
    def isolated(self, stage: StageTracker, chunk: Chunk) -> Iterator[None]:
        """Records an exception inside the block as an error of this chunk.

        Re-raises NOT_OF_A_CHUNK.
        """
        try:
            yield
        except NOT_OF_A_CHUNK:
            raise
        except Exception as error:
            logger.exception("chunk_failed", extra={"stage": stage.name, "chunk": chunk.key})
            with self._lock:
                self._failed += 1
                self._last_reason = reason_of(error)
            stage.record_error(error, item=chunk.key, key=chunk.number)

    def raise_if_all_failed(self) -> None:
        if self._attempted and self._failed == self._attempted and not self.has_former:
            raise NothingIngested(
                StoredSentence(self._all_failed, number=self._attempted, reason=self._last_reason)
            )
