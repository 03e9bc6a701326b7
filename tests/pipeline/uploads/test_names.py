from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.pipeline.uploads.names import UNNAMED, clean_name, extension, stable_id


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\me\\a b.docx", "a b.docx"),
        ("a\0b.pdf", "ab.pdf"),
        ("line\nbreak\t.pdf", "linebreak.pdf"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("\u200f\u2067報告.pdf", "報告.pdf"),
        ("🐝 honey.md", "🐝 honey.md"),
        ("👩\u200d🔬.md", "👩\u200d🔬.md"),
        ("lone\ud800.md", "lone.md"),
        ("e\u0301te\u0301.txt", "été.txt"),
        ("", UNNAMED),
        ("..", UNNAMED),
        ("a/", UNNAMED),
        ("\u202e", UNNAMED),
    ],
)
def test_name_loses_its_invisible_characters(given_name: str, kept: str):
    assert clean_name(given_name) == kept


def test_long_name_keeps_its_extension():
    cleaned = clean_name("x" * 300 + ".markdown")
    assert len(cleaned) == 255
    assert cleaned.endswith("x.markdown")


def test_dot_alone_is_no_extension():
    assert extension("archive") == ""
    assert extension(".profile") == ""
    assert extension("see chapter 3. then stop") == ""
    assert extension("A.PDF") == ".PDF"


@given(st.text(max_size=400))
def test_any_text_becomes_a_valid_name(name: str):
    cleaned = clean_name(name)
    assert 1 <= len(cleaned) <= 255
    assert not set(cleaned) & set("/\\\0\n\u202e")
    assert cleaned not in {".", ".."}
    cleaned.encode()


def test_same_name_is_the_same_document():
    assert stable_id("a.pdf") == stable_id("a.pdf") != stable_id("b.pdf")
    assert len(stable_id("a.pdf")) == 32
