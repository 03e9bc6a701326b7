"""The files in the folder of the embedded store."""

from pathlib import Path
from urllib.parse import quote

LOCK_NAME = "index.lock"
# The number is that of the requests: processes of another version have another socket.
SOCKET_NAME = "index-4.socket"
# What Edge prints when it fails.
LOG_NAME = "index.log"


def shard_path(folder: Path, collection: str) -> Path:
    return folder / "shards" / quote(collection, safe="")


def former_path(folder: Path, collection: str) -> Path:
    """Where qdrant-client's local mode, which older versions used, stored a collection."""
    return folder / "collection" / collection / "storage.sqlite"


def has_former_format(folder: Path, collection: str) -> bool:
    """Does the collection exist in the former format only?"""
    return former_path(folder, collection).exists() and not shard_path(folder, collection).exists()
