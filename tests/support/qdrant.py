"""Qdrant's client without a server, which knows the same filters."""

from typing import Any

import pytest
from qdrant_client import QdrantClient

from ingestion_progress.pipeline.stores import server_vectors
from ingestion_progress.pipeline.stores.server_vectors import ServerVectors


def local_store(settings: Any, monkeypatch: pytest.MonkeyPatch) -> ServerVectors:
    settings.INGESTION_PROGRESS_QDRANT_URL = "http://unused"
    client = QdrantClient(":memory:")
    monkeypatch.setattr(client, "close", lambda: None)
    indexes: dict[str, Any] = {}
    info = client.get_collection

    def with_indexes(name: str) -> Any:
        return info(name).model_copy(update={"payload_schema": indexes})

    # It has no indexes, and warns.
    monkeypatch.setattr(
        client, "create_payload_index", lambda _, key, kind: indexes.update({key: kind})
    )
    monkeypatch.setattr(client, "get_collection", with_indexes)
    monkeypatch.setattr(server_vectors, "QdrantClient", lambda **_: client)
    return ServerVectors()
