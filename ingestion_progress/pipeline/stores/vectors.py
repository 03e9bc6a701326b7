"""What every store of chunks and their vectors has in common."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages import Chunk, Embedding
from ingestion_progress.pipeline.stores.chunk_id import position_of

EmbeddedChunk: TypeAlias = tuple[Chunk, Embedding]
StoredChunk: TypeAlias = tuple[str, dict[str, Any]]
"""Id and payload of a point."""

Change: TypeAlias = Callable[[Sequence[StoredChunk]], Sequence[tuple[Embedding, str]]]
"""Returns the vectors and the language of each chunk, of some hundred at a time."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """A stored chunk that a query has found."""

    payload: dict[str, Any]
    """The result of `payload_of`; without `epoch` if a version without editions wrote it."""
    score: float
    """BM25, the cosine of dense vectors, or reciprocal rank fusion; higher is better."""


class VectorStore(Protocol):
    """Every call raises VectorStoreUnavailable if the store cannot be used in time.

    Of these errors VectorStoreBusy may pass. Thread-safe.
    """

    def write(self, document: Document, epoch: str, chunks: Sequence[EmbeddedChunk]) -> int:
        """Stores chunks of an edition, each once, and returns their number."""

    def adopt(
        self,
        document_id: str,
        epoch: str,
        former: Sequence[str],
        is_done: Callable[[str], bool] = lambda key: True,
    ) -> int:
        """Copies chunks of earlier editions into this one, and returns their number.

        `is_done` takes the key of a chunk. The others will be written again, and are not copied, so
        that each is counted once.
        """

    def discard(self, document_id: str, epoch: str | None = None) -> None:
        """Deletes all chunks of an edition, or of the document."""

    def search(
        self,
        query: Embedding,
        limit: int,
        *,
        dense_weight: float = 0.3,
        hidden: Iterable[tuple[str, str]] = (),
        documents: Sequence[str] | None = None,
        pages: Sequence[int] = (),
        languages: Sequence[str] = (),
    ) -> list[Match]:
        """The best matches, best first. A query with two vectors ranks by both.

        `dense_weight`: from 0 to 1. `hidden`: document and epoch of editions to leave out.
        `documents`: only chunks of these. `pages`, `languages`: only chunks of these, if there are
        any.
        """

    def count(self, document_id: str, epoch: str | None = None) -> int:
        """The number of stored chunks of a document or of one edition."""

    def count_by_page(self, document_id: str, epoch: str) -> dict[int, int]:
        """The number of chunks of an edition on each page, without those that have no page."""

    def chunk_keys(self, document_id: str, epoch: str) -> list[str]:
        """The keys of the chunks of an edition, in no order."""

    def read(self, document_id: str, epoch: str, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The payloads of these chunks of an edition, in no order; at most 1,000."""

    def stored(self) -> Iterator[Sequence[StoredChunk]]:
        """All stored chunks, some hundred at a time."""

    def rewrite(self, changed: Change) -> None:
        """Gives each stored chunk the vectors and the language that `changed` returns for it.

        Searches go on meanwhile.
        """

    def optimize(self) -> None:
        """Brings the index into its best form after many changes. May take seconds."""


@runtime_checkable
class OrderedVectorStore(VectorStore, Protocol):
    """A store that also reads chunks in the order of their document.

    A store without these methods is asked for all keys of the edition instead, for each page of
    its chunks. Positions are numbers as of `position_of`.
    """

    def count_between(self, document_id: str, epoch: str, first: int, end: int) -> int:
        """The number of chunks of an edition from one position until before another."""

    def read_from(
        self, document_id: str, epoch: str, position: int, limit: int
    ) -> list[dict[str, Any]]:
        """The payloads of the first chunks of an edition from this position on, in their order.

        Empty if an older version has written them without their positions.
        """


def payload_of(document: Document, epoch: str, chunk: Chunk) -> dict[str, Any]:
    return {
        "document_id": document.pk,
        "document_name": document.name,
        "epoch": epoch,
        "chunk": chunk.key,
        "position": position_of(chunk.key),
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "heading": chunk.heading,
        "language": chunk.language,
        "text": chunk.text,
    }
