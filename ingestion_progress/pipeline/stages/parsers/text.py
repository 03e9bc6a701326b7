"""Parses plain text in any common encoding."""

from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.encodings import SAMPLE_BYTES, Decoded, decode, is_binary
from ingestion_progress.pipeline.exceptions import EmptyDocument, MislabelledDocument
from ingestion_progress.pipeline.stages import Page

PAGE_BREAK = "\f"


class TextParser:
    """A form feed, as in RFCs, begins a page; without any the document has no pages."""

    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name)
        parts = source.text.split(PAGE_BREAK)
        if not parts[-1].strip():
            parts.pop()
        is_paged = len(parts) > 1
        return [
            Page(
                number=number if is_paged else None,
                text=part,
                warnings=source.warnings if number == 1 else (),
            )
            for number, part in enumerate(parts, start=1)
        ]


def read_text(file: BinaryIO, name: str, *, is_markup: bool = False) -> Decoded:
    """Its lines end with "\\n". Raises EmptyDocument, or MislabelledDocument if it is binary."""
    file.seek(0)
    data = file.read()
    if is_binary(data[:SAMPLE_BYTES]):
        raise MislabelledDocument(
            StoredSentence("“%(name)s” is not a text, whatever its name says.", name=name)
        )
    source = decode(data, is_markup=is_markup)
    if not source.text.strip():
        raise EmptyDocument(StoredSentence("“%(name)s” is empty.", name=name))
    return Decoded(source.text.replace("\r\n", "\n").replace("\r", "\n"), source.warnings)
