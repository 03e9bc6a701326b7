"""The ids of stored chunks, and their order in a document.

Imports no Django, which the process of the embedded store lacks.
"""

import uuid
from collections.abc import Mapping
from typing import Any

# Ids are derived from this, so that writing a chunk again overwrites it.
NAMESPACE = uuid.UUID("6f0ee2b2-4f3a-5a27-9a9b-0c2f6b1d7c55")
FIRST_PICTURE = 1 << 31


def point_id(document_id: str, epoch: str, chunk_key: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{document_id}/{epoch}/{chunk_key}"))


def position_of(chunk_key: str) -> int:
    """17 for `c-17`. The chunks of pictures, as `i-3`, are after all of the text."""
    kind, _, number = chunk_key.partition("-")
    return int(number) + (FIRST_PICTURE if kind == "i" else 0)


def positioned(payload: Mapping[str, Any], **changes: str) -> dict[str, Any]:
    """A changed payload with its position, which chunks of an older version lack."""
    return {**payload, **changes, "position": position_of(payload["chunk"])}
