"""Reads folders of qdrant-client's local mode, which older versions used."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import VectorStoreBusy, VectorStoreUnavailable
from ingestion_progress.pipeline.stores.vectors import StoredChunk

PAGE = 256


def former_chunks(folder: Path, collection: str) -> Iterator[list[StoredChunk]]:
    """All chunks of the collection, some hundred at a time.

    Raises VectorStoreUnavailable, and VectorStoreBusy if a process of an older version uses it.
    """
    from qdrant_client import QdrantClient

    try:
        client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
    except RuntimeError as error:
        raise VectorStoreBusy(
            StoredSentence("A process of the older version uses the search index: stop it first.")
        ) from error
    except Exception as error:
        raise VectorStoreUnavailable(
            StoredSentence(
                "The former search index cannot be read: delete its folder and ingest the "
                "documents again."
            )
        ) from error
    with closing(client):
        offset: Any = None
        while True:
            records, offset = client.scroll(collection, limit=PAGE, offset=offset)
            yield [(str(record.id), record.payload or {}) for record in records]
            if offset is None:
                return
