from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.chunking import (
    SemanticChunker,
)
from ingestion_progress.pipeline.stages.outline import Outline
from ingestion_progress.pipeline.uploads.media_types import MediaType
from tests.support.documents import EXAMPLES, GUIDE
from tests.support.parsers import parser_for

CHUNKER = SemanticChunker()
LONGEST = 1000 + 120 + 2  # with a piece that is too short for a chunk


def chunks(text: str, **page):
    return list(CHUNKER.chunks(Page(number=page.pop("number", None), text=text, **page), 1))


def headings_of(text: str) -> list[tuple[int, str]]:
    return Outline(Page(number=None, text=text, is_markdown=True), 0).headings


def test_chunks_have_their_page_and_offsets():
    with GUIDE.open("rb") as file:
        page = parser_for(MediaType.PDF).open(file, "guide.pdf")[88]
    found = list(CHUNKER.chunks(page, first_number=300))
    assert [chunk.key for chunk in found] == [f"c-{n}" for n in range(300, 300 + len(found))]
    for chunk in found:
        assert chunk.page == 89
        assert chunk.heading == "7.4 TableStyle Commands"
        assert page.text[chunk.start : chunk.end] == chunk.text
    words = " ".join(chunk.text for chunk in found).split()
    assert words == page.text.split()


def test_markdown_chunks_have_the_heading_above_them():
    text = (EXAMPLES / "redis-readme.md").read_text()
    found = chunks(text, is_markdown=True)
    headings = dict.fromkeys(chunk.heading for chunk in found)
    assert list(headings)[:3] == ["", "What is Redis?", "Building Redis"]
    assert "server.c" in headings


def test_hash_in_code_is_no_heading():
    text = "# Real\n\n```sh\n# a comment\n```\n\n" + "word " * 300
    assert {chunk.heading for chunk in chunks(text, is_markdown=True)} == {"Real"}


def test_heading_is_without_its_closing_marks():
    text = "## Closed ##  \n\nOne.\n\n# #\n\nTwo.\n\nUnderlined\n===\n\nThree." + " word" * 300
    assert [title for _, title in headings_of(text)] == ["Closed", "", "Underlined"]


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        ("---\ntitle: Lantern\ntags: [a]\n---\n\nText.\n\n## After", ["After"]),
        ("+++\ntitle = 1\n# of TOML\n+++\n\n# First", ["First"]),
        ("---\n\n# First\n\n---\n", ["First"]),
        ("# Guide\n\n````md\n```sh\n# no heading\n```\n````\n", ["Guide"]),
        ("# First\n\n```ls``` lists files.\n\n## Second\n", ["First", "Second"]),
        ("   ## Indented\n\n##\tTabbed\n", ["Indented", "Tabbed"]),
        ("Over two\nlines\n===\n\ntext", ["Over two lines"]),
        ("- item\n---\n\n> quote\n---\n\n- # in a list\n\n> # in a quotation\n", []),
        ("<!--\n# in a comment\n-->\n\n\\# escaped\n\n    # code\n", []),
    ],
)
def test_headings_are_those_of_commonmark(text: str, headings: list[str]):
    found = headings_of(text)
    assert [title for _, title in found] == headings
    for start, title in found:
        assert title.split()[0] in text[start:].split("\n", maxsplit=1)[0]


TABLE = "| a | b |\n|---|---|\n" + "".join(f"| row {n} | value {n} |\n" for n in range(30))
CODE = "```python\n" + "def f(x):\n    return x\n\n" * 30 + "```\n"


@pytest.mark.parametrize("block", [TABLE, CODE, TABLE.replace("|---|---|\n", "").replace("| ", "")])
@pytest.mark.parametrize("words", range(100, 1000, 75))
def test_table_or_code_that_fits_is_in_one_chunk(block: str, words: int):
    prose = "word " * (words // 5)
    found = chunks(f"{prose}\n\n{block}\n{prose}\n\n{block}", is_markdown=True)
    assert sum(block.rstrip() in chunk.text for chunk in found) == 2
    assert max(len(chunk.text) for chunk in found) <= LONGEST


def test_long_table_is_divided_between_rows():
    rows = [f"| row {n} | value {n} |" for n in range(200)]
    found = chunks("\n".join(["| a | b |", "|---|---|", *rows]), is_markdown=True)
    assert [line for chunk in found for line in chunk.text.split("\n")][2:] == rows


def test_long_heading_is_truncated():
    found = chunks("# " + "long " * 1000 + "\n\n" + "word " * 1000, is_markdown=True)
    assert {len(chunk.heading) for chunk in found} == {200}


# Each of these takes minutes with a quadratic algorithm.
@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "word " * 300_000,
        "# a" + " " * 100_000 + "b",
        "# a\n\n```\nx\n```\n\n" * 20_000,
    ],
    ids=["no spaces", "no lines", "a heading with a gap", "many blocks of code"],
)
def test_large_text_without_separators_is_cut(text: str):
    found = chunks(text, is_markdown=True)
    assert "".join("".join(chunk.text.split()) for chunk in found) == "".join(text.split())
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in found)
    assert max(len(chunk.text) for chunk in found) <= LONGEST


def test_short_rest_is_appended_to_the_chunk_before_it():
    text = "A sentence of some length. " * 37 + "\n\nTail."
    (chunk,) = chunks(text)
    assert chunk.text.endswith("Tail.")


def test_blank_text_has_no_chunks():
    assert chunks("") == chunks(" \n\t") == []
    assert [chunk.text for chunk in chunks("Hi")] == ["Hi"]


@given(st.text(max_size=5000), st.booleans())
def test_chunks_are_in_order_without_overlap_or_loss(text: str, is_markdown: bool):
    found = chunks(text, is_markdown=is_markdown)
    end = 0
    for chunk in found:
        assert end <= chunk.start < chunk.end
        assert text[end : chunk.start].strip() == ""
        assert len(chunk.text) <= LONGEST or not chunk.text.strip()
        end = chunk.end
    assert text[end:].strip() == "" or not found


@pytest.mark.parametrize("name", ["rst2pdf-manual.txt", "redis-readme.md"])
def test_expected_number_is_near_the_real_one(name: str):
    page = Page(number=None, text=(EXAMPLES / name).read_text())
    assert CHUNKER.expected(page) == pytest.approx(len(chunks(page.text)), rel=0.3)
    assert CHUNKER.expected(page, after=len(page.text)) == 0
