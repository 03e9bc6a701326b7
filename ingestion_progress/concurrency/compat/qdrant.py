"""qdrant-client: the SQLite database behind a local collection."""

from __future__ import annotations

import contextlib
from typing import Any

from qdrant_client import QdrantClient


def relax_durability(client: QdrantClient, collection: str) -> None:
    """The local store commits each point separately: deleting 500 points took 10 s on a busy disk,
    during which a job could not be cancelled. A crash of the machine may now undo the last writes.
    """
    with contextlib.suppress(AttributeError):  # without it the store is only slower
        local: Any = client._client  # noqa: SLF001
        database = local.collections[collection].storage.storage
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
