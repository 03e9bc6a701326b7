"""The comparison of `benchmarks/pdf_text.py` with pdftotext."""

from __future__ import annotations

from benchmarks.pdf_text import Compared, WithHeaders, WithoutOcr, table, texts_of_parser
from tests.support.documents import pdf


def test_words_are_found_repeated_divided_or_missing():
    result = Compared(name="a.pdf")
    result.add(
        1, "Manual ﬁnd the inter connection, heron", "find the interconnection", "Manual find"
    )
    assert (result.words, result.repeated, result.divided, result.missing) == (6, 1, 2, 1)
    assert result.missing_by_page == {1: ["heron"]}
    assert round(result.found_percent) == 40
    assert "| a.pdf | 1 | 6 | 40.0 | 1 | 2 | 1 |" in table([result])


def test_letters_of_scripts_without_spaces_are_words():
    result = Compared(name="a.pdf")
    result.add(1, "灯塔的光", "灯塔 光", "")
    assert (result.words, result.missing) == (4, 1)


def test_the_parser_reads_pages_with_their_headers_and_without(tmp_path):
    path = tmp_path / "guide.pdf"
    path.write_bytes(pdf(4, first=20))
    without, whole = (
        list(texts_of_parser(path, 3, parser)) for parser in (WithoutOcr, WithHeaders)
    )
    assert len(without) == len(whole) == 3
    lengths = [len(b) - len(a) for a, b in zip(without, whole, strict=True)]
    assert lengths[1] > 0
    assert lengths[2] > 0
