"""Where an ingestion writes: vectors, the graph, and results that its next attempt uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingestion_progress.pipeline.stores.vectors import QdrantStore


def vector_store() -> QdrantStore:
    """The only way to it: importing Qdrant's client takes longer than the rest of a process."""
    from ingestion_progress.pipeline.stores.vectors import QdrantStore

    return QdrantStore()
