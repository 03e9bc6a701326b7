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
from tests.support.live import ROOT

BINARY = bytes(range(1, 32)) * 4
PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)


def old(stream: str) -> bytes:
    """An Office document of before 2007, as far as it is looked at."""
    return (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9000) + stream.encode("utf-16-le") + bytes(99)
    )


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_media_types_of_the_examples(path):
    with path.open("rb") as file:
        assert media_type_of(file, path.name) is EXTENSIONS[path.suffix.lower()]


@pytest.mark.parametrize(
    ("name", "data", "error", "says"),
    [
        ("a.pdf", b"", EmptyDocument, "is empty"),
        ("a.md", b" \n\t ", EmptyDocument, "is empty"),
        (
            "a.exe",
            b"MZ\x90" + BINARY,
            UnsupportedDocument,
            "is a program, which cannot be ingested",
        ),
        ("a", bytes(range(32)), UnsupportedDocument, ".docx"),
        ("a.GIF", b"GIF89a" + BINARY, UnsupportedDocument, "is a GIF picture, which cannot be"),
        ("a.zip", archive({"a.txt": b"a"}), UnsupportedDocument, "Unpack it"),
        ("a.pages", archive({"Index/Document.iwa": b"a"}), UnsupportedDocument, "Save it as PDF"),
        ("a.tar", bytes(257) + b"ustar" + bytes(99), UnsupportedDocument, "a tar archive"),
        ("a.mp3", b"ID3" + BINARY, UnsupportedDocument, "MP3 audio"),
        ("a.mp4", bytes(4) + b"ftypisom" + bytes(99), UnsupportedDocument, "MP4 video"),
        ("a.doc", old("WordDocument"), UnsupportedDocument, "is an old Word document, which"),
        ("a.xls", old("Workbook"), UnsupportedDocument, "Save it as .xlsx"),
        ("a.ppt", old("PowerPoint Document"), UnsupportedDocument, "Save it as .pptx"),
        ("a.msg", old("__properties_version1.0"), UnsupportedDocument, "an Outlook message"),
        ("a.docx", old("WordDocument"), MislabelledDocument, "content is an old Word document"),
        ("a.vsd", old("VisioDocument"), UnsupportedDocument, "an old Office document"),
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


@pytest.mark.parametrize("name", ["a", "a.unknown", "README", "Makefile", "a.DOC"])
def test_name_without_a_known_extension_has_the_media_type_of_its_content(name: str):
    contents = {
        MediaType.PDF: pdf(1),
        MediaType.DOCX: docx(),
        MediaType.HTML: b"<!DOCTYPE html><p>Hi",
        MediaType.TEXT: b"BM, MZ and ID3 begin this text.",
    }
    assert {media_type_of(io.BytesIO(data), name) for data in contents.values()} == set(contents)
    for media_type, data in contents.items():
        assert media_type_of(io.BytesIO(data), name) is media_type


def test_documentation_names_every_extension():
    page = (ROOT / "docs" / "formats.md").read_text()
    assert [each for each in EXTENSIONS if f"`{each}`" not in page] == []


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


def test_an_opendocument_of_which_a_byte_is_missing_is_damaged():
    data = archive({"mimetype": MediaType.ODT.encode(), "content.xml": b"<text/>"})
    at = data.index(b"mimetype")
    with pytest.raises(DamagedDocument, match="is damaged: its parts cannot be read"):
        media_type_of(io.BytesIO(data[: at - 3] + data[at - 2 :]), "report.odt")
    other = archive({"mimetype": b"application/x-other", "content.xml": b"<text/>"})
    with pytest.raises(MislabelledDocument, match="a ZIP archive"):
        media_type_of(io.BytesIO(other), "report.odt")
