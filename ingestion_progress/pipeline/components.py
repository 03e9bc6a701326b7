"""The replaceable parts of the pipeline, each behind a small interface: the classes that the
settings name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.stages import DenseVector, Embedding, SparseVector
from ingestion_progress.pipeline.stores import graph_store, vector_store

if TYPE_CHECKING:
    from ingestion_progress.pipeline.stages.chunking import Chunker
    from ingestion_progress.pipeline.stages.dense_embedding import DenseEmbedder
    from ingestion_progress.pipeline.stages.embedding import Embedder
    from ingestion_progress.pipeline.stages.extraction import Extractor
    from ingestion_progress.pipeline.stages.image_description import ImageDescriber
    from ingestion_progress.pipeline.stores.graph import GraphStore
    from ingestion_progress.pipeline.stores.vectors import VectorStore

logger = logging.getLogger("ingestion_progress.pipeline")

SETTINGS = (
    "chunker",
    "describer",
    "embedder",
    "extractor",
    "dense_embedder",
    "graph_store",
    "vector_store",
)
"""The settings with a dotted path; all but the last three have one by default."""


def chunker() -> Chunker:
    made: Chunker = import_string(conf.chunker)()
    return made


def describer() -> ImageDescriber:
    made: ImageDescriber = _shared(conf.describer)
    return made


def embedder() -> Embedder:
    """One in each process, for all threads: it may hold a model."""
    made: Embedder = _shared(conf.embedder)
    return made


def dense_embedder() -> DenseEmbedder | None:
    """One in each process, for all threads; None by default."""
    made: DenseEmbedder | None = _shared(conf.dense_embedder) if conf.dense_embedder else None
    return made


def embedded_query(text: str, languages: Collection[str], dense_weight: float) -> Embedding:
    """The query's words in these languages, and its meaning, unless one has no weight.

    If the dense embedder fails, only the words are searched, unless they have no weight.
    """
    model = dense_embedder() if dense_weight else None
    if model is None:
        return Embedding(embedder().embed_query(text, languages))
    if dense_weight == 1:
        return Embedding(SparseVector((), ()), DenseVector(model.name, model.embed_query(text)))
    sparse = embedder().embed_query(text, languages)
    try:
        return Embedding(sparse, DenseVector(model.name, model.embed_query(text)))
    except Exception:
        logger.exception("query_without_dense_vector", extra={"model": model.name})
        return Embedding(sparse)


def extractor() -> Extractor:
    """Another one with each call."""
    made: Extractor = import_string(conf.extractor)()
    return made


@lru_cache(maxsize=len(SETTINGS))
def _shared(path: str) -> Any:
    return import_string(path)()


@dataclass(frozen=True, kw_only=True)
class Components:
    """The components of one run."""

    describer: ImageDescriber = field(default_factory=describer)
    chunker: Chunker = field(default_factory=chunker)
    embedder: Embedder = field(default_factory=embedder)
    dense_embedder: DenseEmbedder | None = field(default_factory=dense_embedder)
    extractor: Callable[[], Extractor] = extractor
    """Called once in each worker thread."""
    vectors: VectorStore = field(default_factory=vector_store)
    graph: GraphStore = field(default_factory=graph_store)
