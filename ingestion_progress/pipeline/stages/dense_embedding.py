"""The interface of models that convert text to dense vectors, which are near where meanings are."""

from collections.abc import Sequence
from typing import Protocol

from ingestion_progress.pipeline.stages import DenseVector


class DenseEmbedder(Protocol):
    """The class of `DENSE_EMBEDDER`. One in each process, for all threads."""

    name: str
    """Names the model and its version. Vectors of different names are never compared."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """A vector for each of at most 256 texts, in order, all of one length.

        After an error each text is embedded alone, and a text that fails alone counts as failed.
        """

    def embed_query(self, text: str) -> Sequence[float]:
        """The vector to search with, of the same length. Its angle to others is compared."""


def dense_vectors(embedder: DenseEmbedder | None, texts: Sequence[str]) -> list[DenseVector | None]:
    """The vector of each text; None without an embedder."""
    if embedder is None or not texts:
        return [None] * len(texts)
    vectors = embedder.embed(texts)
    if len(vectors) != len(texts):
        raise ValueError(f"{embedder.name} made {len(vectors)} vectors of {len(texts)} texts.")
    return [DenseVector(embedder.name, vector) for vector in vectors]
