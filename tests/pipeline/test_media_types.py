from __future__ import annotations

import io
import struct
import time

import pytest

from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    DocumentTooLarge,
    EmptyDocument,
    MislabelledDocument,
    UnreadableDocument,
    UnsupportedDocument,
)
from ingestion_progress.pipeline.uploads.media_types import EXTENSIONS, MediaType, media_type_of
from ingestion_progress.pipeline.uploads.zip_safety import END_OF_DIRECTORY, open_archive
from tests.support.documents import EXAMPLES, archive, docx, pdf, zip_bomb

PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_media_types_of_the_examples(path):
    with path.open("rb") as file:
        assert media_type_of(file, path.name) is EXTENSIONS[path.suffix]


@pytest.mark.parametrize(
    ("name", "data", "error", "says"),
    [
        ("a.pdf", b"", EmptyDocument, "is empty"),
        ("a.md", b" \n\t ", EmptyDocument, "is empty"),
        ("a.exe", b"MZ", UnsupportedDocument, ".docx"),
        ("a", b"text", UnsupportedDocument, "cannot be ingested"),
        ("a.pdf", b"Dear all, this is text.", MislabelledDocument, "content is plain text"),
        ("a.pdf", PNG, MislabelledDocument, "content is a PNG picture"),
        ("a.txt", pdf(1), MislabelledDocument, "content is a PDF"),
        ("a.docx", pdf(1), MislabelledDocument, "content is a PDF"),
        ("a.docx", archive({"a.txt": b"a"}), MislabelledDocument, "content is a ZIP archive"),
        ("a.pdf", docx(), MislabelledDocument, "content is a Word document"),
        ("a.html", bytes(range(9)), MislabelledDocument, "something else"),
        ("a.docx", docx()[:-60], DamagedDocument, "cut off"),
        ("a.docx", zip_bomb(), DocumentTooLarge, "not opened"),
    ],
)
def test_unsuitable_file_is_refused_with_a_sentence_that_names_it(name, data, error, says):
    with pytest.raises(error, match="“" + name) as refused:
        media_type_of(io.BytesIO(data), name)
    assert says in str(refused.value)
    assert isinstance(refused.value, UnreadableDocument)
    assert str(refused.value).endswith(".")


def test_text_may_have_the_extension_of_any_kind_of_text():
    page = b"<!DOCTYPE html><html><body>Hi</body></html>"
    assert media_type_of(io.BytesIO(page), "source.txt") is MediaType.TEXT
    assert media_type_of(io.BytesIO(b"no tags at all"), "a.HTM") is MediaType.HTML
    assert media_type_of(io.BytesIO("grüße".encode("utf-16")), "a.txt") is MediaType.TEXT


def test_archive_with_millions_of_entries_is_refused_unread():
    data = bytearray(docx())
    at = data.rfind(END_OF_DIRECTORY)
    struct.pack_into("<H", data, at + 10, 65_000)
    started = time.monotonic()
    with pytest.raises(DocumentTooLarge):
        open_archive(io.BytesIO(bytes(data)), "a.docx")
    assert time.monotonic() - started < 1


def test_archive_with_a_broken_directory_is_damaged():
    data = docx().replace(b"PK\x01\x02", b"XX\x01\x02")
    with pytest.raises(DamagedDocument, match="cannot be opened"):
        open_archive(io.BytesIO(data), "a.docx")
