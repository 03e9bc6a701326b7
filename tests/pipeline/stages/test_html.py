"""HTML by the rules of HTML: what a reader sees is read, in linear time."""

from __future__ import annotations

import time

import pytest

from ingestion_progress.pipeline.exceptions import DamagedDocument
from ingestion_progress.pipeline.stages.chunking import SemanticChunker
from ingestion_progress.pipeline.stages.parsers.html import html_page


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<head><meta charset=utf-8><body><h1>Rules</h1><p>one<p>two", "# Rules\n\none\n\ntwo"),
        (
            "<table><tr><td>Row 0<td>quay<tr><td>Row 1<td>berth</table>",
            "Row 0 | quay\nRow 1 | berth",
        ),
        ("<details><summary>Mooring</summary>Forbidden</details>", "Mooring\n\nForbidden"),
        ("<fieldset><legend>Owner</legend>Harbour</fieldset>", "Owner\n\nHarbour"),
        ("<center>Notice</center>Board", "Notice\n\nBoard"),
        ("<select><option>Oak<option>Elm</select>", "Oak\n\nElm"),
        ('<p>seen<p hidden>no<p style="color: red; display:none">no<p>too', "seen\n\ntoo"),
        ("<title>The ordinance</title><p>Article one.", "The ordinance\n\nArticle one."),
        ("<title>Rules</title><h1>Rules</h1><p>one", "# Rules\n\none"),
        ("<main><h1>Hi</h1></main><div>The samphire clause.</div>", "# Hi\n\nThe samphire clause."),
        (
            "<main>A first part</main><p>x</p><main>and a second</main>",
            "A first part\n\nand a second",
        ),
        ("<p># 12 is open<p>#hashtag", "\\# 12 is open\n\n#hashtag"),
        ("a<!-- b --><![CDATA[c]]>d", "ad"),
        ("<frameset><frame src=a.html></frameset>", ""),
    ],
)
def test_what_a_reader_sees_is_read(html: str, text: str):
    assert html_page(html).text == text


def test_code_has_no_headings():
    page = html_page("<h1>Lantern</h1><pre># apt install\n# start</pre><p># 9 is its port.</p>")
    chunks = list(SemanticChunker().chunks(page, 1))
    assert {chunk.heading for chunk in chunks} == {"Lantern"}


@pytest.mark.parametrize(
    "piece",
    ["<p>Entry of the list.</p>\n", "line<br>", "<tr><td>a<td>b", "<script></script>", "<b>"],
)
def test_time_grows_with_the_size_and_not_with_its_square(piece: str):
    def seconds(count: int) -> float:
        taken = []
        for _ in range(3):
            began_at = time.process_time()
            html_page(piece * count)
            taken.append(time.process_time() - began_at)
        return min(taken)

    assert seconds(40_000) < 12 * seconds(5_000) + 0.5


def test_blocks_within_blocks_without_end_are_refused():
    assert html_page("<div>" * 5_000 + "bottom").text == "bottom"
    assert html_page("<div>one</div>" * 20_000).text.startswith("one")
    with pytest.raises(DamagedDocument, match="nested too deeply"):
        html_page("</div>" * 200_000 + "<div>" * 200_000)
    assert html_page("<hr>" * 20_000 + "end").text == "end"


@pytest.mark.parametrize(
    "head", ['<?xml version="1.0"?><html>', '<html xmlns="http://www.w3.org/1999/xhtml">']
)
def test_elements_of_xhtml_may_end_in_their_first_tag(head: str):
    page = html_page(f"{head}<head><title/><script src='a'/></head><p>One<a id='b'/></p><div/>Two")
    assert page.text == "One\n\nTwo"


def test_mark_of_a_list_item_is_before_its_paragraph():
    page = html_page("<ul><li><p>One</p><p>more</p><li>Two<li><h2>Three</h2></ul>")
    assert page.text == "- One\n\nmore\n\n- Two\n-\n\n## Three"
