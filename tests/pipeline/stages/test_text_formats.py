"""CSV, JSON, notebooks, XML, reStructuredText and RTF."""

from __future__ import annotations

import io
import json

import pytest

from ingestion_progress.pipeline.exceptions import DamagedDocument, EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.outline import Outline
from ingestion_progress.pipeline.uploads.media_types import MediaType, media_type_of
from tests.support.parsers import parser_for


def read(name: str, data: str | bytes) -> Page:
    data = data.encode() if isinstance(data, str) else data
    media_type = media_type_of(io.BytesIO(data), name)
    (page,) = parser_for(media_type).open(io.BytesIO(data), name)
    return page


def text_of(name: str, data: str | bytes) -> str:
    return read(name, data).text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("name,fee\nKnot,10\n", "name | fee\nKnot | 10"),
        ('name;fee\n"Knot\n1";"1;2"\n;\n', "name | fee\nKnot 1 | 1;2"),
        ("a\tb, c\n1\t\n\n2\t3", "a | b, c\n1\n2 | 3"),
        ("a|b\r\n1|2\r\n", "a | b\n1 | 2"),
        ("Just a text, with commas.\n\nAnd no table; really.", None),
        ("one\ntwo\n", None),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "A.TSV"])
def test_row_of_a_table_is_a_line_and_what_is_no_table_is_text(name: str, data: str, text: str):
    assert text_of(name, data) == (data if text is None else text)


def test_quotation_mark_that_is_not_closed_makes_a_text_of_the_table():
    page = read("a.csv", "a,b\n" * 30 + '"x' + ",y\n" * 600_000)
    assert page.text.endswith('a,b\n"x' + ",y\n" * 600_000)
    assert "read as text" in page.warnings[0]


def test_keys_and_values_of_json_are_lines():
    value = {"name": "Ann", "on": True, "no": None, "at": [[1.50, 2], [3, 4]]}
    value["birds"] = [{"kind": "knot"}]
    assert text_of("a.json", json.dumps(value)).split("\n") == [
        "name: Ann", "on: true", "no:", "at:", "  - 1.5, 2", "  - 3, 4", "birds:", "  -",
        "    kind: knot",
    ]  # fmt: skip
    assert text_of("a.json", '"Ann"') == "Ann"
    assert len(text_of("a.json", json.dumps({"a": "data:image/png;base64," + "x" * 9999}))) < 50


def test_numbers_of_json_stay_as_they_are_written():
    assert text_of("a.json", f'{{"a": 1.10, "b": {"9" * 5000}}}') == f"a: 1.10\nb: {'9' * 5000}"


def test_invalid_json_is_a_text_with_a_warning():
    page = read("a.json", "{bees: 1}")
    assert (page.text, page.warnings) == (
        "{bees: 1}",
        ("It is not valid JSON: it was read as plain text.",),
    )


@pytest.mark.parametrize("depth", [400, 600, 100_000])
def test_deep_json_is_read_or_refused(depth: int):
    try:
        assert "knot" in text_of("a.json", '{"a":' * depth + '"knot"' + "}" * depth)
    except DamagedDocument as refused:
        assert "nested too deeply" in str(refused)  # noqa: PT017  (either is right)


def test_record_of_json_lines_is_a_paragraph():
    page = read("a.jsonl", '{"a": 1}\n\n{"a":\n{"b": [1, 2]}\n')
    assert page.text == 'a: 1\n\n{"a":\n\nb: 1, 2'
    assert page.warnings == ("1 line is not valid JSON: read as plain text.",)


def test_notebook_has_texts_code_and_results():
    outputs = [{"text": ["1\n", "2\n"]}, {"data": {"text/plain": "3", "image/png": "x"}}]
    outputs += [{"output_type": "error", "ename": "NameError", "evalue": "bee", "traceback": ["x"]}]
    notebook = {
        "metadata": {"kernelspec": {"language": "python"}},
        "cells": [
            {"cell_type": "markdown", "source": ["# Hive\n", "Bees."]},
            {"cell_type": "code", "source": 'print("```")', "outputs": outputs},
            {"cell_type": "code", "source": [], "outputs": []},
        ],
    }
    page = read("a.ipynb", json.dumps(notebook))
    assert page.text == (
        '# Hive\nBees.\n\n````python\nprint("```")\n````\n\n```\n1\n2\n```\n\n```\n3\n```'
        "\n\n```\nNameError: bee\n```"
    )
    assert page.is_markdown


def test_notebook_of_an_older_version_is_read():
    cells = [
        {"cell_type": "heading", "source": "Hive"},
        {"cell_type": "code", "input": ["1 + 1"], "outputs": [{"text": "2"}]},
    ]
    page = read("a.ipynb", json.dumps({"worksheets": [{"cells": cells}], "metadata": None}))
    assert page.text == "# Hive\n\n```\n1 + 1\n```\n\n```\n2\n```"


@pytest.mark.parametrize("data", ["{}", "[]", '{"cells": 1}', '{"cells": [1]}', "no JSON"])
def test_what_is_no_notebook_has_a_sentence(data: str):
    with pytest.raises(DamagedDocument, match="is not a notebook"):
        read("a.ipynb", data)


def test_elements_of_xml_are_lines_and_those_within_a_sentence_are_not():
    data = (
        '<?xml version="1.0" encoding="windows-1251"?><r><name>Маяк</name><p>Some <b>bold</b> '
        "text that is <i>longer</i> than others.</p><x/></r>"
    ).encode("cp1251")
    assert text_of("a.xml", data) == "name: Маяк\nSome bold text that is longer than others."
    assert media_type_of(io.BytesIO(data), "a") is MediaType.XML


def test_entities_of_xml_are_refused_and_nothing_is_fetched():
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    with pytest.raises(DamagedDocument, match="declares entities"):
        read("a.xml", laughs)
    doctype = '<!DOCTYPE x PUBLIC "x" "http://example.invalid/x.dtd"><x>a&nbsp;b</x>'
    assert text_of("a.xml", doctype) == "x: ab"


@pytest.mark.parametrize(
    ("data", "error"),
    [("<a><b></a>", DamagedDocument), ("<a/>", EmptyDocument), ("Hi", DamagedDocument)],
)
def test_broken_and_empty_xml_have_a_sentence(data: str, error: type[Exception]):
    with pytest.raises(error, match=r"“a\.xml”"):
        read("a.xml", data)


def test_xml_may_be_nested_deeply():
    assert "knot" in text_of("a.xml", "<a>" * 100_000 + "knot" + "</a>" * 100_000)


RST = """\
====
Hive
====

Text with a `link`_.

.. A comment
   of two lines

Honey
-----

Code::

   # x = 1

.. code-block:: sh

   # ls

.. note:: Take care.

# no heading

* item

Wax
^^^

Bees
----
"""


def test_titles_of_restructured_text_are_headings_and_code_is_fenced():
    page = read("a.rst", RST)
    headings = [title for _, title in Outline(page, 0).headings]
    assert headings == ["Hive", "Honey", "Wax", "Bees"]
    assert "\n### Wax\n" in page.text
    assert "```\n   # x = 1\n```" in page.text
    assert "Take care." in page.text
    assert "comment" not in page.text


def test_restructured_text_of_comments_only_is_empty():
    with pytest.raises(EmptyDocument):
        read("a.rst", ".. nothing\n   here\n")


def rtf(body: str) -> str:
    return r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}\f0 " + body + "}"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"\b Bees\b0  \'e9t\'e9 \u28783?\u22612?\par Wasps", "Bees été 灯塔\nWasps"),
        (r"\trowd Boat\cell Fee\cell\row\trowd Knot\cell 10\cell\row", "Boat | Fee\nKnot | 10"),
        (r"a{\v cuckoo}{\footnote b}{\header c}{\*\generator X;}", "a b c"),
        (r"a{\pict\pngblip 89504e47}b{\comment cuckoo}", "ab"),
        ("{" * 50_000 + "deep" + "}" * 50_000, "deep"),
    ],
)
def test_rtf_is_read(body: str, text: str):
    assert text_of("a.rtf", rtf(body)) == text
    assert media_type_of(io.BytesIO(rtf(body).encode()), "a.doc") is MediaType.RTF


def test_rtf_that_is_cut_off_or_empty_has_a_sentence():
    with pytest.raises(DamagedDocument, match="cut off"):
        read("a.rtf", rtf("Bees")[:-1])
    with pytest.raises(EmptyDocument, match="has no text"):
        read("a.rtf", rtf(""))
