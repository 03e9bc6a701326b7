"""Opens the package of an Office document: its parts and how they refer to each other."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import UnreadableImage
from ingestion_progress.pipeline.stages.parsers.xml_events import XmlHandler, damaged, read_xml
from ingestion_progress.pipeline.uploads.zip_safety import UNREADABLE, open_archive

# Enough for the headers of pictures, which are not decoded.
PICTURE_BYTES = 1024 * 1024
# The largest file of a picture, whose decoded form is larger.
MAX_PICTURE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Relationship:
    kind: str
    """The last part of its type: `footnotes`, `image` …"""
    target: str
    """The name of a part, or an address outside of the document."""
    is_external: bool


class Package:
    """The parts by their names: `word/document.xml`. Names are compared without case."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        """The document's, for sentences."""
        self._archive = open_archive(file, name)
        self._parts = {_normal(info.filename): info for info in self._archive.infolist()}

    def __contains__(self, part: str) -> bool:
        return _normal(part) in self._parts

    def main_part(self) -> str:
        for relationship in self.relationships("").values():
            if relationship.kind == "officeDocument" and relationship.target in self:
                return relationship.target
        raise damaged(self.name)

    def read(self, part: str, handler: XmlHandler) -> None:
        """Does nothing if there is no such part. Raises DamagedDocument."""
        if part in self:
            with self.open(part) as file:
                read_xml(file, handler, self.name)

    def head(self, part: str, size: int = PICTURE_BYTES) -> bytes:
        """Its first bytes; empty if there is no such part. Raises DamagedDocument."""
        if part not in self:
            return b""
        with self.open(part) as file:
            return file.read(size)

    def file(self, part: str) -> bytes:
        """All of its bytes. Raises UnreadableImage if it is too large, or DamagedDocument."""
        data = self.head(part, MAX_PICTURE_BYTES + 1)
        if len(data) > MAX_PICTURE_BYTES:
            raise UnreadableImage(
                StoredSentence("The file of a picture is too large to be looked at.")
            )
        return data

    @contextmanager
    def open(self, part: str) -> Iterator[BinaryIO]:
        try:
            with self._archive.open(self._parts[_normal(part)]) as file:
                yield file  # type: ignore[misc]  # readable, as a file is
        except UNREADABLE as error:
            raise damaged(self.name) from error

    def relationships(self, part: str) -> dict[str, Relationship]:
        """By their ids; of the whole package if `part` is empty."""
        folder, _, base = part.replace("\\", "/").rpartition("/")
        found = _Relationships(folder)
        self.read(posixpath.join(folder, "_rels", f"{base}.rels"), found)
        return found.by_id


class _Relationships:
    def __init__(self, folder: str) -> None:
        self.by_id: dict[str, Relationship] = {}
        self._folder = folder

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag != "Relationship":
            return
        is_external = attributes.get("TargetMode") == "External"
        target = attributes.get("Target", "")
        if not is_external:
            target = target.replace("\\", "/")
            target = posixpath.normpath(posixpath.join("/", self._folder, target)).lstrip("/")
        self.by_id[attributes.get("Id", "")] = Relationship(
            kind=attributes.get("Type", "").rpartition("/")[2],
            target=target,
            is_external=is_external,
        )

    def end(self, tag: str) -> None: ...

    def text(self, text: str) -> None: ...


def _normal(name: str) -> str:
    return name.replace("\\", "/").lstrip("/").lower()
