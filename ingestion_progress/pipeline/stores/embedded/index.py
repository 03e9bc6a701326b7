"""The collections of a folder, and the errors of Edge as something that a client can tell apart."""

import errno
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ingestion_progress.pipeline.stores.embedded.files import has_former_format, shard_path
from ingestion_progress.pipeline.stores.embedded.shard import OtherDimensions, Shard, UnknownFormat

# A flush is due when nothing was written for a while, or after this time with writes.
QUIET_SECONDS = 1.0
FLUSH_SECONDS = 30.0
# Edge writes into memory-mapped files: on a full disk, the system would kill the process.
MIN_FREE_BYTES = 100 * 1024 * 1024
NEEDS_SPACE = frozenset(["write", "copy", "replace_vectors"])
WRITES = NEEDS_SPACE | {"discard"}


class FormerFormat(Exception):
    """The folder is one of qdrant-client's local mode."""


class FolderMissing(Exception):
    """The folder was deleted or replaced while it was open."""


KINDS: dict[type[BaseException], str] = {
    FormerFormat: "former",
    UnknownFormat: "newer",
    OtherDimensions: "dimensions",
    FolderMissing: "gone",
}
# Another program has the folder open, and with it the lock of Edge's log.
LOCKED = "WouldBlock"
SIGNS = {os.strerror(code): code for code in (errno.ENOSPC, errno.EACCES, errno.EROFS)}


class Index:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inode = folder.stat().st_ino
        self._opening = threading.Lock()
        self._shards: dict[str, Shard] = {}
        self._written_at = self._flushed_at = time.monotonic()
        self.is_broken = threading.Event()
        """Has Edge failed so that only another process can go on?"""

    def answer(self, line: bytes) -> dict[str, Any]:
        """A request is {"name": …, "collection": …, "arguments": {…}}: a method of a shard.

        The answer is {"result": …} or {"error": {"kind": …, "errno": …, "text": …}}.
        """
        try:
            return {"result": self._result(json.loads(line))}
        except FolderMissing as error:
            self.is_broken.set()
            return {"error": described(error)}
        except Exception as error:  # noqa: BLE001 (Edge raises no more exact one)
            return {"error": described(error)}
        except BaseException as error:  # noqa: BLE001 (a panic of Edge)
            self.is_broken.set()
            return {"error": described(error)}

    def flush_if_due(self) -> None:
        """A search waits for it, so that it is due after a write without others, or rarely."""
        now = time.monotonic()
        if now > self._written_at + QUIET_SECONDS or now > self._flushed_at + FLUSH_SECONDS:
            for shard in list(self._shards.values()):
                shard.flush()
            self._flushed_at = now

    def close(self) -> None:
        for shard in self._shards.values():
            if not shard.is_gone():
                shard.close()

    def _result(self, request: Mapping[str, Any]) -> Any:
        name, collection = request["name"], request["collection"]
        if name in NEEDS_SPACE:
            self._raise_if_full()
        if name in WRITES:
            self._written_at = time.monotonic()
        if name == "rename":
            return self._rename(collection, **request["arguments"])
        return getattr(self._shard(collection), name)(**request["arguments"])

    def _rename(self, collection: str, to: str) -> None:
        with self._opening:
            if shard := self._shards.pop(collection, None):
                shard.close()
            shard_path(self._folder, collection).rename(shard_path(self._folder, to))

    def _shard(self, collection: str) -> Shard:
        with self._opening:
            shard = self._shards.get(collection)
            if self._is_gone() or (shard is not None and shard.is_gone()):
                raise FolderMissing
            if shard is None:
                path = shard_path(self._folder, collection)
                if has_former_format(self._folder, collection):
                    raise FormerFormat
                if not path.exists():
                    self._raise_if_full()
                shard = self._shards[collection] = Shard(path)
            return shard

    def _is_gone(self) -> bool:
        try:
            return self._folder.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def _raise_if_full(self) -> None:
        found = os.statvfs(self._folder)
        if found.f_bavail * found.f_frsize < MIN_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def described(error: BaseException) -> dict[str, Any]:
    """The error of an answer. Edge has only its texts."""
    text = f"{type(error).__name__}: {error}"
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        number = next((code for sign, code in SIGNS.items() if sign in text), None)
    # All that Edge raises is a plain Exception, or a panic.
    is_of_edge = type(error) is Exception or not isinstance(error, Exception)
    kind = KINDS.get(type(error), "damaged" if is_of_edge else "failed")
    return {"kind": "taken" if LOCKED in text else kind, "errno": number, "text": text}
