"""The ids of stored chunks. Imports no Django, which the process of the embedded store lacks."""

import uuid

# Ids are derived from this, so that writing a chunk again overwrites it.
NAMESPACE = uuid.UUID("6f0ee2b2-4f3a-5a27-9a9b-0c2f6b1d7c55")


def point_id(document_id: str, epoch: str, chunk_key: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{document_id}/{epoch}/{chunk_key}"))
