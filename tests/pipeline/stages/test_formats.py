"""Every format is recognised by its content or its name, and read in the parser process."""

from __future__ import annotations

import contextlib
import io
import json
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.pipeline.exceptions import UnreadableDocument, UnreadablePage
from ingestion_progress.pipeline.parser_process.pages import ParsedPages
from ingestion_progress.pipeline.stages.parsers import parser_path
from ingestion_progress.pipeline.uploads.media_types import KINDS, MediaType, media_type_of
from tests.pipeline.stages.test_ocr import picture_of
from tests.support.documents import archive, docx
from tests.support.office import package, relationships, xml
from tests.support.parsers import parser_for

TEXT = "Bees make honey."
SLIDE = f"<p:sp><p:txBody><a:p><a:r><a:t>{TEXT}</a:t></a:r></a:p></p:txBody></p:sp>"
ROW = f'<s:row><s:c t="inlineStr"><s:is><s:t>{TEXT}</s:t></s:is></s:c></s:row>'
OASIS = "urn:oasis:names:tc:opendocument:xmlns"


def office(folder: str, main: str, ids: str, part: str, content: bytes) -> bytes:
    """With one slide or sheet."""
    related = relationships(part1=part)
    name = f"{folder}/{main}.xml"
    parts = {name: xml(f"{folder[0]}:{main}", ids), f"{folder}/_rels/{main}.xml.rels": related}
    return package(name, parts | {f"{folder}/{part}": content})


def open_document(media_type: MediaType, before: str, after: str) -> bytes:
    names = " ".join(f'xmlns:{name}="{OASIS}:{name}:1.0"' for name in ("text", "table", "draw"))
    content = f"<a {names}>{before}<text:p>{TEXT}</text:p>{after}</a>"
    return archive({"mimetype": media_type.encode(), "content.xml": content.encode()})


def epub() -> bytes:
    book = '<package><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
    return archive(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": b'<container><rootfile full-path="a.opf"/></container>',
            "a.opf": f'{book}</manifest><spine><itemref idref="a"/></spine></package>'.encode(),
            "a.xhtml": f"<p>{TEXT}</p>".encode(),
        }
    )


def picture(words: str, file_format: str) -> bytes:
    buffer = io.BytesIO()
    picture_of(words).save(buffer, file_format)
    return buffer.getvalue()


def mail() -> bytes:
    message = EmailMessage()
    message["From"], message["Date"] = "ann@example.com", "Sun, 01 Nov 2026 12:00:00 +0000"
    message.set_content(TEXT, charset="iso-8859-15")
    return message.as_bytes()


CELL = (
    "<table:table><table:table-row><table:table-cell>",
    ("</table:table-cell></table:table-row></table:table>"),
)
SAMPLES = {
    MediaType.DOCX: docx(),
    MediaType.PPTX: office(
        "ppt", "presentation", '<p:sldId r:id="part1"/>', "a.xml", xml("p:sld", SLIDE)
    ),
    MediaType.XLSX: package(
        "xl/workbook.xml",
        {
            "xl/workbook.xml": xml("s:workbook", '<s:sheet name="A" r:id="part1"/>'),
            "xl/_rels/workbook.xml.rels": relationships(part1="a.xml"),
            "xl/a.xml": xml("s:worksheet", ROW),
        },
    ),
    MediaType.ODT: open_document(MediaType.ODT, "", ""),
    MediaType.ODP: open_document(MediaType.ODP, "<draw:page>", "</draw:page>"),
    MediaType.ODS: open_document(MediaType.ODS, *CELL),
    MediaType.EPUB: epub(),
    MediaType.MAIL: mail(),
    MediaType.HTML: f"<!DOCTYPE html><p>{TEXT}".encode(),
    MediaType.RTF: rf"{{\rtf1\ansi {TEXT}}}".encode(),
    MediaType.XML: f'<?xml version="1.0"?><a>{TEXT}</a>'.encode(),
    MediaType.TEXT: TEXT.encode(),
}
# The parser reads them by OCR, which takes seconds.
PICTURES = {
    MediaType.PNG: picture(TEXT, "PNG"),
    MediaType.JPEG: picture(TEXT, "JPEG"),
    MediaType.TIFF: picture(TEXT, "TIFF"),
}
# Their content does not tell them from other texts.
NAMED = {
    MediaType.MARKDOWN: f"# Hive\n\n{TEXT}",
    MediaType.RST: f"Hive\n====\n\n{TEXT}",
    MediaType.CSV: f"a,b\n1,{TEXT}",
    MediaType.JSON: json.dumps({"a": TEXT}),
    MediaType.JSON_LINES: json.dumps({"a": TEXT}) + "\n",
    MediaType.NOTEBOOK: json.dumps({"cells": [{"cell_type": "markdown", "source": TEXT}]}),
}


@pytest.mark.parametrize("media_type", SAMPLES)
def test_format_is_recognised_and_read(media_type: MediaType, tmp_path: Path):
    is_read(media_type, SAMPLES[media_type], tmp_path / "document")


@pytest.mark.parametrize("media_type", PICTURES)
def test_picture_is_recognised_and_its_words_are_read(media_type: MediaType, tmp_path: Path):
    is_read(media_type, PICTURES[media_type], tmp_path / "document")


@pytest.mark.parametrize("media_type", NAMED)
def test_format_is_recognised_by_its_name_and_read(media_type: MediaType, tmp_path: Path):
    for extension in KINDS[media_type].extensions:
        path = tmp_path / f"document{extension.upper()}"
        is_read(media_type, NAMED[media_type].encode(), path)


def is_read(media_type: MediaType, data: bytes, path: Path) -> None:
    path.write_bytes(data)
    with path.open("rb") as file:
        assert media_type_of(file, path.name) is media_type
        with ParsedPages(parser_path(media_type), file, path.name) as pages:
            assert TEXT in pages[0].text


@pytest.mark.parametrize("media_type", [*SAMPLES, *NAMED])
@given(
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=20), st.integers(0, 20)), max_size=4),
    st.floats(0, 1),
)
def test_damaged_file_is_read_or_has_a_sentence(
    media_type: MediaType, changes: list[tuple[float, bytes, int]], end: float
):
    sample = SAMPLES.get(media_type) or NAMED[media_type].encode()
    data = bytearray(sample)
    for place, inserted, removed in changes:
        at = int(place * len(data))
        data[at : at + removed] = inserted
    data = data[: int(end * 2 * len(data))]
    with contextlib.suppress(UnreadableDocument, UnreadablePage):
        pages = parser_for(media_type).open(io.BytesIO(bytes(data)), "a")
        for index in range(len(pages)):
            assert isinstance(pages[index].text, str)
