"""Parses XML of any vocabulary: the texts of its elements."""

from __future__ import annotations

import io
import re
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.text import read_text
from ingestion_progress.pipeline.stages.parsers.xml_events import read_xml

DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
# A longer text needs no label.
MAX_LABELLED = 60


class XmlParser:
    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name, is_markup=True)
        texts = _Texts()
        # Decoded before, because expat knows few encodings.
        text = DECLARATION.sub("", source.text, count=1)
        read_xml(io.BytesIO(text.lstrip().encode("utf-8", "replace")), texts, name)
        text = "\n".join(texts.lines)
        if not text:
            raise EmptyDocument(
                StoredSentence("“%(name)s” has no text between its tags.", name=name)
            )
        return [Page(number=None, text=text, warnings=source.warnings)]


class _Texts:
    """A line for each element, such as `name: Ann`; elements within a sentence belong to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._pieces: list[str] = []
        self._inline = 0
        """Open elements within a sentence."""
        self._is_leaf = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._inline or "".join(self._pieces).strip():
            self._inline += 1
        self._is_leaf = not self._inline

    def end(self, tag: str) -> None:
        if self._inline:
            self._inline -= 1
            return
        text = " ".join("".join(self._pieces).split())
        self._pieces = []
        if text:
            is_labelled = self._is_leaf and len(text) <= MAX_LABELLED
            self.lines.append(f"{tag.rpartition(':')[2]}: {text}" if is_labelled else text)
        self._is_leaf = False

    def text(self, text: str) -> None:
        self._pieces.append(text)
