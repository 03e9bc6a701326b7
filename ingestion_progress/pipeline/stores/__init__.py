"""Where an ingestion writes: vectors, the graph, and results that its next attempt uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingestion_progress.pipeline.stores.graph import GraphStore
    from ingestion_progress.pipeline.stores.vectors import VectorStore


def vector_store() -> VectorStore:
    """The store of `VECTOR_STORE`; a Qdrant server if `QDRANT_URL` is set; else the embedded one.

    The only way to them: importing Qdrant's client takes longer than the rest of a process. (And
    the process of the embedded store imports this package without Django.)
    """
    from ingestion_progress.pipeline.conf import conf

    if conf.vector_store:
        from django.utils.module_loading import import_string

        own: VectorStore = import_string(conf.vector_store)()
        return own
    if conf.qdrant_url:
        from ingestion_progress.pipeline.stores.server_vectors import ServerVectors

        return ServerVectors()
    from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors

    return EmbeddedVectors()


def graph_store() -> GraphStore:
    """The store of `GRAPH_STORE`; Neo4j if `NEO4J_URL` is set; else two tables of the database."""
    from ingestion_progress.pipeline.conf import conf

    if conf.graph_store:
        from django.utils.module_loading import import_string

        own: GraphStore = import_string(conf.graph_store)()
        return own
    if conf.neo4j_url:
        from ingestion_progress.pipeline.stores.neo4j_graph import Neo4jGraph

        return Neo4jGraph()
    from ingestion_progress.pipeline.stores.database_graph import DatabaseGraph

    return DatabaseGraph()
