"""qdrant-client: the SQLite database behind a local collection."""

import contextlib
import traceback
from collections.abc import Iterator
from typing import Any

from qdrant_client import QdrantClient
from qdrant_client.local.local_collection import LocalCollection
from qdrant_client.local.persistence import CollectionPersistence
from qdrant_client.local.qdrant_local import QdrantLocal


@contextlib.contextmanager
def closed_on_failure() -> Iterator[None]:
    """Closes the files of a local client whose constructor fails, which nothing else can reach."""
    try:
        yield
    except Exception as error:
        for frame, _line in traceback.walk_tb(error.__traceback__):
            owner = frame.f_locals.get("self")
            if isinstance(owner, QdrantLocal | LocalCollection | CollectionPersistence):
                with contextlib.suppress(AttributeError):  # it had not opened its file
                    owner.close()
        raise


def relax_durability(client: QdrantClient, collection: str) -> None:
    """The local store commits each point separately: deleting 500 points took 10 s on a busy disk,
    during which a job could not be cancelled. A crash of the machine may now undo the last writes.
    """
    with contextlib.suppress(AttributeError):  # without it the store is only slower
        local: Any = client._client  # noqa: SLF001
        database = local.collections[collection].storage.storage
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
