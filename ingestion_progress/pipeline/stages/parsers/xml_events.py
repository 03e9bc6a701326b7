"""Reads XML as events, in constant memory. Nothing is fetched, and entities are refused."""

from __future__ import annotations

import re
from typing import BinaryIO, Protocol
from xml.parsers import expat

from ingestion_progress.pipeline.exceptions import DamagedDocument

OPEN_XML = re.compile(
    r"http://(?:schemas\.openxmlformats\.org|purl\.oclc\.org/ooxml)/(\w+)(?:/2006)?/(\w+)"
)
OPEN_DOCUMENT = re.compile(r"urn:oasis:names:tc:opendocument:xmlns:(\w+?)(?:-compatible)?:1\.0")
# The prefixes that the specifications use, whatever a file writes.
PREFIXES = {
    ("wordprocessingml", "main"): "w",
    ("presentationml", "main"): "p",
    ("spreadsheetml", "main"): "s",
    ("drawingml", "main"): "a",
    ("drawingml", "wordprocessingDrawing"): "wp",
    ("drawingml", "chart"): "c",
    ("drawingml", "diagram"): "dgm",
    ("officeDocument", "math"): "m",
    ("officeDocument", "relationships"): "r",
}
OTHER_PREFIXES = {
    "http://schemas.openxmlformats.org/markup-compatibility/2006": "mc",
    "urn:schemas-microsoft-com:vml": "v",
    "http://www.w3.org/1999/xlink": "xlink",
}


class XmlHandler(Protocol):
    """Names are `prefix:name` in the known vocabularies, and `name` in all others."""

    def start(self, tag: str, attributes: dict[str, str]) -> None: ...

    def end(self, tag: str) -> None: ...

    def text(self, text: str) -> None: ...


def read_xml(file: BinaryIO, handler: XmlHandler, name: str) -> None:
    """Raises DamagedDocument, which names the document."""
    names: dict[str, str] = {}

    def named(full: str) -> str:
        if full not in names:
            names[full] = _named(full)
        return names[full]

    def start(tag: str, attributes: dict[str, str]) -> None:
        handler.start(named(tag), {named(key): value for key, value in attributes.items()})

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: handler.end(named(tag))
    parser.CharacterDataHandler = handler.text
    parser.EntityDeclHandler = _refuse
    try:
        parser.ParseFile(file)
    except (expat.ExpatError, ValueError, LookupError) as error:  # also an unknown encoding
        raise damaged(name) from error


def damaged(name: str) -> DamagedDocument:
    return DamagedDocument(
        f"“{name}” is damaged: its parts cannot be read. Save or download it again."
    )


def _refuse(*declaration: object) -> None:
    raise ValueError("entities")


def _named(full: str) -> str:
    namespace, _, name = full.rpartition(" ")
    if found := OPEN_DOCUMENT.fullmatch(namespace):
        return f"{found[1]}:{name}"
    found = OPEN_XML.fullmatch(namespace)
    key = (found[1], found[2]) if found else ("", "")
    prefix = PREFIXES.get(key) or OTHER_PREFIXES.get(namespace)
    return f"{prefix}:{name}" if prefix else name
