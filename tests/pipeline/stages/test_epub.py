from __future__ import annotations

import io

import pytest

from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    DocumentTooLarge,
    ProtectedDocument,
    UnreadablePage,
)
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.uploads.media_types import MediaType, media_type_of
from tests.support.documents import archive, png
from tests.support.parsers import parser_for

CONTAINER = b"""<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>"""


def chapter(body: str) -> bytes:
    head = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head>'
    return f"{head}<body>{body}</body></html>".encode()


def epub(chapters: dict[str, bytes], parts: dict[str, bytes] | None = None) -> bytes:
    """The chapters by their ids, in the order of the book."""
    items = "".join(
        f'<item id="{key}" href="text/{key}%20x.xhtml" media-type="application/xhtml+xml"/>'
        for key in reversed(chapters)
    )
    order = "".join(f'<itemref idref="{key}"/>' for key in chapters)
    opf = f"""<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}
        <item id="css" href="a.css" media-type="text/css"/></manifest>
        <spine>{order}<itemref idref="css"/></spine></package>"""
    files = {f"OEBPS/text/{key} x.xhtml": data for key, data in chapters.items()}
    book = {"mimetype": b"application/epub+zip", "META-INF/container.xml": CONTAINER}
    return archive(book | {"OEBPS/book.opf": opf.encode()} | files | (parts or {}))


def pages_of(data: bytes):
    assert media_type_of(io.BytesIO(data), "a.epub") is MediaType.EPUB
    return parser_for(MediaType.EPUB).open(io.BytesIO(data), "a.epub")


def read(data: bytes) -> list[Page]:
    pages = pages_of(data)
    return [pages[index] for index in range(len(pages))]


def test_chapters_are_pages_in_the_order_of_the_book():
    pages = read(
        epub({"b": chapter("<h2>Hive &amp; honey</h2><p>One</p>"), "a": chapter("<p/>Two")})
    )
    assert [(page.number, page.heading, page.text) for page in pages] == [
        (1, "Hive & honey", "## Hive & honey\n\nOne"),
        (2, "", "Two"),
    ]


def test_pictures_are_found_beside_the_chapter():
    body = '<img src="../img/a.png" alt="A bee"/><img src="../img/gone.png"/>'
    (page,) = read(epub({"a": chapter(body)}, {"OEBPS/img/a.png": png()}))
    found = [(each.format, each.width, each.alt) for each in page.pictures]
    assert found == [("PNG", 40, "A bee"), ("PNG", 0, "")]


def test_chapter_that_is_missing_or_hostile_does_not_affect_others():
    deep = b"<div>" * 20_000
    pages = pages_of(epub({"a": chapter("One"), "b": deep, "c": chapter("Three")}))
    assert pages[2].text == "Three"
    with pytest.raises(UnreadablePage, match="Chapter 2 is damaged"):
        pages[1]
    data = epub({"a": chapter("One")}).replace(b"OEBPS/text/a x.xhtml", b"OEBPS/text/b x.xhtml")
    with pytest.raises(UnreadablePage, match="Chapter 1 is missing"):
        read(data)


def test_protected_book_has_a_sentence_but_encrypted_fonts_do_not_matter():
    part = "META-INF/encryption.xml"
    method = b'<encryption><EncryptionMethod Algorithm="%s"/></encryption>'
    fonts = {part: method % b"http://www.idpf.org/2008/embedding"}
    assert read(epub({"a": chapter("One")}, fonts))
    protected = {part: method % b"http://www.w3.org/2001/04/xmlenc#aes128-cbc"}
    with pytest.raises(ProtectedDocument, match="protected against copies"):
        read(epub({"a": chapter("One")}, protected))


def test_book_without_chapters_or_of_too_much_has_a_sentence():
    with pytest.raises(DamagedDocument, match="no list of chapters"):
        read(epub({}))
    with pytest.raises(DamagedDocument, match="no list of chapters"):
        read(archive({"mimetype": b"application/epub+zip"}))
    with pytest.raises(DocumentTooLarge):
        read(epub({"a": bytes(60 * 1024 * 1024)}))
