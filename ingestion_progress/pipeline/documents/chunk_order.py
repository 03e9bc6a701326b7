"""The chunks of an edition by their place: those of the text, then those of pictures.

Numbers of chunks are no places, because chunks that failed are not stored.
"""

from bisect import bisect_left
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

from ingestion_progress.pipeline.stores import vector_store
from ingestion_progress.pipeline.stores.chunk_id import FIRST_PICTURE, position_of
from ingestion_progress.pipeline.stores.vectors import OrderedVectorStore, VectorStore

Payloads = list[dict[str, Any]]


class OrderedChunks(Protocol):
    """Every call raises VectorStoreUnavailable."""

    @property
    def total(self) -> int:
        """The number of stored chunks."""

    def read(self, offset: int, limit: int) -> Payloads:
        """The payloads of the chunks after the first `offset` ones."""

    def place(self, chunk: str) -> int | None:
        """How many chunks are before the one with this key, if it is stored."""


def ordered_chunks(document_id: str, epoch: str) -> OrderedChunks:
    store = vector_store()
    if isinstance(store, OrderedVectorStore) and store.read_from(document_id, epoch, 0, limit=1):
        return ChunksByPosition(store, document_id, epoch)
    return ChunksByKey(store, document_id, epoch)


class ChunksByPosition:
    """The chunks of an edition in a store that reads them by their positions."""

    def __init__(self, store: OrderedVectorStore, document_id: str, epoch: str) -> None:
        self._store = store
        self._edition = (document_id, epoch)

    @cached_property
    def total(self) -> int:
        return self._store.count(*self._edition)

    def read(self, offset: int, limit: int) -> Payloads:
        if offset >= self.total or limit < 1:
            return []
        position = self._position(offset) if offset else 0
        return self._store.read_from(*self._edition, position, limit)

    def place(self, chunk: str) -> int | None:
        found = self._store.read(*self._edition, [chunk]) if chunk else []
        return self._count(0, position_of(chunk)) if found else None

    def _position(self, offset: int) -> int:
        texts = self.total - self._count(FIRST_PICTURE, 2 * FIRST_PICTURE)  # pictures are few
        if offset < texts:
            return first_position(0, offset, self._count)
        return first_position(FIRST_PICTURE, offset - texts, self._count)

    def _count(self, first: int, end: int) -> int:
        return self._store.count_between(*self._edition, first, end)


class ChunksByKey:
    """The chunks of an edition without positions: all of its keys are read."""

    def __init__(self, store: VectorStore, document_id: str, epoch: str) -> None:
        self._store = store
        self._edition = (document_id, epoch)

    @cached_property
    def _keys(self) -> list[str]:
        return sorted(self._store.chunk_keys(*self._edition), key=position_of)

    @property
    def total(self) -> int:
        return len(self._keys)

    def read(self, offset: int, limit: int) -> Payloads:
        chosen = self._keys[offset : offset + limit]
        found = self._store.read(*self._edition, chosen) if chosen else []
        return sorted(found, key=lambda payload: position_of(payload["chunk"]))

    def place(self, chunk: str) -> int | None:
        return self._keys.index(chunk) if chunk in self._keys else None


def first_position(start: int, offset: int, count: Callable[[int, int], int]) -> int:
    """The lowest position with `offset` chunks between `start` and it.

    `count` returns the number of chunks between two positions. It is asked once if no chunk is
    missing there, and else also about short ranges, as often as their number has binary digits.
    """
    lowest = start + offset + 1
    missing = offset - count(start, lowest)
    if missing <= 0:
        return lowest
    length = missing
    while count(lowest, lowest + length) < missing and length < FIRST_PICTURE:
        length *= 2
    return lowest + bisect_left(
        range(length), missing, key=lambda more: count(lowest, lowest + more)
    )
