"""The text of PDF: words that are whole, what people have filled in, and no headers and footers."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path

import pytest
from pypdf import PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject, StreamObject

from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers import ocr
from ingestion_progress.pipeline.stages.parsers.headers_and_footers import (
    without_headers_and_footers,
)
from ingestion_progress.pipeline.stages.parsers.pdf import PdfParser
from ingestion_progress.pipeline.stages.parsers.pypdf_pages import PypdfPages
from tests.support.documents import GUIDE, written

DOCUMENTS = Path(__file__).parent / "documents"


def read(path: Path) -> list[Page]:
    with PdfParser().open(io.BytesIO(path.read_bytes()), path.name) as pages:
        return [pages[index] for index in range(len(pages))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("spaces-by-positions.pdf", "Heutzutage ist der Befehl git ein unverzichtbares Werkzeug,"),
        ("zeros-after-the-end.pdf", "The nuthatch page has a line or two."),
        ("form-values.pdf", "Treecreeper\nBuilding a chiffchaff hide"),
        ("text-note.pdf", "Move the blackcap buoy"),
        ("divided-words.pdf", "the interconnection of the two basins and the flycatcher colony"),
    ],
)
def test_text_of_pdf_is_complete_and_its_words_are_whole(name, text):
    (page,) = read(DOCUMENTS / name)
    assert text in page.text
    assert page.warnings == ()


def document_of(content: bytes, font: DictionaryObject | None = None, **metadata: str) -> bytes:
    """A PDF of a page with this content stream and a font `/F`, Helvetica if none is given."""
    writer = PdfWriter()
    page = writer.add_blank_page(400, 400)
    stream = StreamObject()
    stream.set_data(content)
    page[NameObject("/Contents")] = writer._add_object(stream)
    helvetica = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
    names = {NameObject(key): NameObject(value) for key, value in helvetica.items()}
    plain, named = DictionaryObject(names), DictionaryObject(names | (font or {}))
    fonts = DictionaryObject({NameObject("/A"): plain, NameObject("/F"): named})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    writer.add_metadata({f"/{key}": value for key, value in metadata.items()})
    return written(writer)


def page_of(content: bytes, font: DictionaryObject | None = None, **metadata: str) -> Page:
    data = document_of(content, font, **metadata)
    with PdfParser().open(io.BytesIO(data), "a.pdf") as pages:
        return pages[0]


MOVES = b"BT /F 10 Tf 9 300 Td (is invoke) Tj 2.5 Tc 38.9 0 Td (dw) Tj 0 Tc 15.3 0 Td (ith) Tj ET"
EMPHASIS = b"BT /F 10 Tf 9 300 Td 2.5 Tc (warning) Tj ET"


@pytest.mark.parametrize(("content", "text"), [(MOVES, "is invoked with"), (EMPHASIS, "warning")])
def test_letter_spacing_divides_words_only_where_it_is_a_space(content, text):
    assert page_of(content, Producer="GPL Ghostscript 10.00.0").text == text


@pytest.mark.parametrize(
    ("line", "following", "text"),
    [
        ("the inter-", "connection", "the interconnection"),
        ("of DAM-", "AGES", "of DAMAGES"),
        ("the Anglo-", "Saxon", "the Anglo-Saxon"),
    ],
)
def test_words_that_a_line_divides_are_whole(line, following, text):
    lines = f"BT /F 10 Tf 9 300 Td ({line}) Tj 0 -12 Td ({following}) Tj ET"
    assert page_of(lines.encode()).text == text


def test_footnote_marks_are_not_parts_of_words():
    marks = b"BT /F 10 Tf 9 300 Td (Phase) Tj /F 6 Tf 4 Ts (12) Tj 0 -20 Td (3) Tj "
    words = b"/F 10 Tf 0 Ts (Noise of sha256 and H) Tj /F 6 Tf -2 Ts (2) Tj ET"
    assert page_of(marks + words).text == "Phase 12\n3 Noise of sha256 and H2"


def test_ligatures_that_a_standard_font_lacks_are_read():
    names = ArrayObject([NumberObject(1), NameObject("/fi"), NameObject("/ffi")])
    encoding = DictionaryObject({NameObject("/Differences"): names})
    font = DictionaryObject({NameObject("/Encoding"): encoding})
    shown = b"BT /F 12 Tf 72 320 Td <01> Tj (lter and e) Tj <02> Tj (cient) Tj ET"
    assert unicodedata.normalize("NFKC", page_of(shown, font).text) == "filter and efficient"
    descriptor = DictionaryObject({NameObject("/FontFile"): NameObject("/None")})
    in_file = DictionaryObject({NameObject("/FontDescriptor"): descriptor, **font})
    assert PypdfPages(document_of(shown, font), "a.pdf").has_ligatures(0)
    assert not PypdfPages(document_of(shown, in_file), "a.pdf").has_ligatures(0)


@pytest.fixture
def without_ocr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "is_available", lambda: False)


@pytest.mark.usefixtures("without_ocr")
def test_letters_that_the_file_does_not_name_are_count_as_unread():
    (page,) = read(DOCUMENTS / "unnamed-letters.pdf")
    assert page.text == ""
    assert page.unread.startswith(
        "The fonts of page 1 do not say which letters they show. Install "
    )


@pytest.mark.usefixtures("without_ocr")
def test_every_page_of_a_scan_is_unread():
    pages = read(DOCUMENTS / "scan.pdf")
    assert [len(page.pictures) for page in pages] == [1, 0, 0]
    assert ["has no text, only pictures" in page.unread for page in pages] == [True] * 3


def test_page_numbers_headers_and_footers_are_left_out():
    pages = read(GUIDE)
    assert not [page.number for page in pages[2:] if f"Page {page.number}" in page.text[-20:]]
    assert pages[21].text.endswith("canvas.setFillColor(black)")


def edges(*pages: str) -> list[str]:
    texts = dict(enumerate(pages))
    return [without_headers_and_footers(texts, index) for index in texts]


def test_a_line_is_left_out_if_two_pages_near_it_have_it_at_the_same_edge():
    assert edges("Handbook\none\n1", "Handbook\ntwo\n2", "Handbook\nthree\n3") == [
        "Handbook\none",
        "two",
        "three",
    ]
    assert edges("Handbook\none", "Handbook\ntwo") == ["Handbook\none", "Handbook\ntwo"]
    at_another_edge = ("one\nlong\npage\nof\nthe\nHandbook", "Handbook\na\nb\nc\nd")
    assert edges(*at_another_edge, at_another_edge[0])[1] == at_another_edge[1]


def test_slides_that_appear_bit_by_bit_lose_no_line():
    slides = ("Birds\nheron", "Birds\nheron\nkite", "Birds\nheron\nkite\nowl")
    assert set("\n".join(edges(*slides)).split()) == {"Birds", "heron", "kite", "owl"}


def test_numbers_that_do_not_count_the_pages_stay():
    rows = ("Total 10 20", "Total 10 23", "Total 14 20")
    assert edges(*rows) == list(rows)


def test_a_page_of_headers_and_footers_only_is_empty():
    assert edges("Handbook\n1", "Handbook\n2", "Handbook\nthree\n3") == ["Handbook", "", "three"]
