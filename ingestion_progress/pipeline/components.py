"""The replaceable parts of the pipeline, each behind a small interface: the classes that the
settings name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.stores import vector_store

if TYPE_CHECKING:
    from ingestion_progress.pipeline.stages.chunking import Chunker
    from ingestion_progress.pipeline.stages.embedding import Embedder
    from ingestion_progress.pipeline.stages.extraction import Extractor
    from ingestion_progress.pipeline.stages.image_description import ImageDescriber
    from ingestion_progress.pipeline.stores.graph import GraphStore
    from ingestion_progress.pipeline.stores.vectors import VectorStore

SETTINGS = ("chunker", "describer", "embedder", "extractor", "vector_store")
"""Those with a dotted path; all but the last have one by default."""


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


def extractor() -> Extractor:
    """Another one with each call."""
    made: Extractor = import_string(conf.extractor)()
    return made


@lru_cache(maxsize=len(SETTINGS))
def _shared(path: str) -> Any:
    return import_string(path)()


@dataclass(frozen=True, kw_only=True)
class Components:
    """Those of one run."""

    describer: ImageDescriber = field(default_factory=describer)
    chunker: Chunker = field(default_factory=chunker)
    embedder: Embedder = field(default_factory=embedder)
    extractor: Callable[[], Extractor] = extractor
    """Called once in each worker thread."""
    vectors: VectorStore = field(default_factory=vector_store)
    graph: GraphStore
