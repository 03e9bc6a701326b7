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
    monkeypatch.setattr(client, "create_payload_index", lambda *_: None)  # it warns
    monkeypatch.setattr(server_vectors, "QdrantClient", lambda **_: client)
    return ServerVectors()
