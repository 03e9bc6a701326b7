"""The text of PDF: words that are whole, what people have filled in, and no headers and footers."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers import ocr
from ingestion_progress.pipeline.stages.parsers.headers_and_footers import (
    without_headers_and_footers,
)
from ingestion_progress.pipeline.stages.parsers.pdf import PdfParser
from tests.support.documents import GUIDE

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
