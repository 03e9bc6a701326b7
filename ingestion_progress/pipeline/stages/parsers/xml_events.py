"""Reads XML as events, in constant memory. Nothing is fetched, and entities are refused."""

from __future__ import annotations

import re
from typing import BinaryIO, Protocol
from xml.parsers import expat

from ingestion_progress.exceptions.sentences import StoredSentence
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


class EntityDeclared(Exception):
    """Names of texts that may contain each other, and so be of any length."""


class XmlHandler(Protocol):
    """Names are `prefix:name` in the known vocabularies, and `name` in all others."""

    def start(self, tag: str, attributes: dict[str, str]) -> None: ...

    def end(self, tag: str) -> None: ...

    def text(self, text: str) -> None: ...


def read_xml(file: BinaryIO, handler: XmlHandler, name: str) -> None:
    """Raises DamagedDocument, which names the document."""
    parser = _parser(handler)
    try:
        parser.ParseFile(file)
    except EntityDeclared as error:
        raise DamagedDocument(
            StoredSentence(
                "“%(name)s” declares entities of XML, which may grow without a limit. Save it "
                "without them.",
                name=name,
            )
        ) from error
    except (expat.ExpatError, ValueError, LookupError) as error:  # also an unknown encoding
        raise damaged(name) from error


def _parser(handler: XmlHandler) -> expat.XMLParserType:
    names = _Names()
    handle_start, handle_end = handler.start, handler.end

    def start(tag: str, attributes: dict[str, str]) -> None:
        for key in attributes:
            if " " in key:
                attributes = {names[key]: value for key, value in attributes.items()}
                break
        handle_start(names[tag], attributes)

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: handle_end(names[tag])
    parser.CharacterDataHandler = handler.text
    parser.EntityDeclHandler = _refuse
    return parser


def damaged(name: str) -> DamagedDocument:
    return DamagedDocument(
        StoredSentence(
            "“%(name)s” is damaged: its parts cannot be read. Save or download it again.", name=name
        )
    )


def _refuse(*declaration: object) -> None:
    raise EntityDeclared


class _Names(dict[str, str]):
    """Names with prefixes by names with namespaces."""

    def __missing__(self, full: str) -> str:
        namespace, _, name = full.rpartition(" ")
        found = OPEN_DOCUMENT.fullmatch(namespace)
        prefix = found[1] if found else OTHER_PREFIXES.get(namespace)
        if found := OPEN_XML.fullmatch(namespace):
            prefix = PREFIXES.get((found[1], found[2]))
        self[full] = f"{prefix}:{name}" if prefix else name
        return self[full]
