from __future__ import annotations

import io

import pytest

from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    DocumentTooLarge,
    EmptyDocument,
    ProtectedDocument,
)
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers import odf_sheets
from ingestion_progress.pipeline.uploads.media_types import MediaType, media_type_of
from tests.support.documents import archive, png
from tests.support.parsers import parser_for

OASIS = "urn:oasis:names:tc:opendocument:xmlns"
NAMESPACES = {
    prefix: f"{OASIS}:{prefix}:1.0"
    for prefix in ("office", "text", "table", "draw", "style", "presentation", "manifest")
}
NAMESPACES |= {"svg": f"{OASIS}:svg-compatible:1.0", "xlink": "http://www.w3.org/1999/xlink"}
NAMESPACES |= {"dc": "http://purl.org/dc/elements/1.1/"}


def xml(content: str) -> bytes:
    names = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in NAMESPACES.items())
    return f"<office:document-content {names}>{content}</office:document-content>".encode()


def odf(media_type: MediaType, content: str, parts: dict[str, bytes] | None = None) -> bytes:
    written = {"mimetype": media_type.encode(), "content.xml": xml(content)}
    return archive(written | (parts or {}))


def read(media_type: MediaType, content: str, parts: dict[str, bytes] | None = None) -> list[Page]:
    data = odf(media_type, content, parts)
    assert media_type_of(io.BytesIO(data), "a") is media_type
    return list(parser_for(media_type).open(io.BytesIO(data), "a.odx"))


def text_of(content: str, parts: dict[str, bytes] | None = None) -> str:
    (page,) = read(MediaType.ODT, content, parts)
    return page.text


def p(text: str, style: str = "") -> str:
    return f'<text:p text:style-name="{style}">{text}</text:p>'


def cells(*texts: str) -> str:
    return "".join(f"<table:table-cell>{p(text)}</table:table-cell>" for text in texts)


def row(*texts: str) -> str:
    return f"<table:table-row>{cells(*texts)}</table:table-row>"


def style(name: str, kind: str, hides: str) -> str:
    return f'<style:style style:name="{name}"><style:{kind}-properties {hides}/></style:style>'


# Texts


def test_headings_lists_and_tables_of_a_text_are_read():
    text = text_of(
        '<text:h text:outline-level="2">Hive</text:h>'
        f"<text:list><text:list-item>{p('a')}</text:list-item></text:list>"
        f"<table:table>{row('Boat', 'Fee')}{row('Knot', '10')}</table:table>"
        + p("one<text:s text:c='3'/>two<text:tab/><text:span>3</text:span><text:line-break/>four")
    )
    assert text == "## Hive\n\n- a\n\nBoat | Fee\nKnot | 10\n\none two 3\nfour"


def test_notes_and_comments_follow_their_paragraph():
    note = (
        "<text:note><text:note-citation>1</text:note-citation>"
        f"<text:note-body>{p('The crossbill.')}</text:note-body></text:note>"
    )
    comment = f"<office:annotation><dc:creator>Ann</dc:creator>{p('So?')}</office:annotation>"
    text = text_of(p(f"One{note}{comment} more") + p("Two"))
    assert text == "One[1] more\n\n[1] The crossbill.\n\n[Ann] So?\n\nTwo"


def test_page_headers_and_footers_are_read():
    header, footer = (f"<style:{name}>{{}}</style:{name}>" for name in ("header", "footer"))
    styles = xml(header.format(p("HOOPOE")) + footer.format(p("Wryneck")))
    assert text_of(p("Body"), {"styles.xml": styles}) == "HOOPOE\n\nBody\n\nWryneck"


def test_deleted_and_hidden_text_is_left_out():
    deleted = f"<text:tracked-changes>{p('cuckoo')}</text:tracked-changes>"
    hidden = style("H", "text", 'text:display="none"')
    section = f'<text:section text:display="none">{p("cuckoo")}</text:section>'
    span = '<text:span text:style-name="H">cuckoo</text:span>'
    assert text_of(hidden + deleted + section + p("cuckoo", "H") + p(f"Seen{span}")) == "Seen"


def test_text_boxes_pictures_and_objects_are_read():
    frame = "<draw:frame>{}</draw:frame>"
    box = frame.format(f"<draw:text-box>{p('Box')}</draw:text-box>")
    picture = frame.format('<draw:image xlink:href="Pictures/a.png"/><svg:desc>A bee</svg:desc>')
    chart, formula = (frame.format(f'<draw:object xlink:href="./{name}"/>') for name in "CF")
    parts = {
        "Pictures/a.png": png(),
        "C/content.xml": xml(p("Catch") + p("Herring")),
        "F/content.xml": b"<math><mi>x</mi><annotation>x over 2</annotation></math>",
    }
    (page,) = read(MediaType.ODT, p(f"a{box}b{picture}") + p(chart + formula), parts)
    assert page.text == "ab\n\nBox\n\nCatch; Herring\n\nx over 2"
    assert [(each.format, each.alt) for each in page.pictures] == [("PNG", "A bee")]


# Presentations


def test_slide_is_a_page_with_its_title():
    frame = "<draw:frame {}><draw:text-box>{}</draw:text-box></draw:frame>"
    title = frame.format('presentation:class="title"', p("Bees"))
    text = frame.format("", p("make honey"))
    notes = f"<presentation:notes>{frame.format('', p('Say it'))}</presentation:notes>"
    slides = style("H", "drawing-page", 'presentation:visibility="hidden"')
    slides += f"<draw:page>{text}{title}{notes}</draw:page><draw:page>{text}</draw:page>"
    slides += f'<draw:page draw:style-name="H">{text}</draw:page>'
    pages = read(MediaType.ODP, slides)
    assert [(page.number, page.heading, page.text) for page in pages] == [
        (1, "Bees", "# Bees\n\nmake honey\n\nSay it"),
        (2, "", "make honey"),
    ]


# Spreadsheets


def test_sheet_is_a_page_and_a_row_a_line():
    sheets = style("H", "table", 'table:display="false"')
    gap = '<table:table-cell table:number-columns-repeated="{}"/>'
    rows = row("Boat", "Fee") + f"<table:table-row>{gap.format(1)}{cells('10')}{gap.format(16000)}"
    sheets += f'<table:table table:name="A">{rows}</table:table-row></table:table>'
    sheets += f'<table:table table:name="B" table:style-name="H">{row("b")}</table:table>'
    sheets += f'<table:table table:name="C">{row("c")}</table:table>'
    pages = read(MediaType.ODS, sheets)
    assert [(page.number, page.heading, page.text) for page in pages] == [
        (1, "A", "A\n\nBoat | Fee\n | 10"),
        (3, "C", "C\n\nc"),
    ]
    assert pages[0].warnings == ("Sheet “B” is hidden and was left out.",)


def test_repeated_cells_need_no_memory_and_large_sheets_are_cut(monkeypatch):
    far = '<table:table-cell table:number-columns-repeated="9999999"/>' + cells("last")
    rows = f'<table:table-row table:number-rows-repeated="9999999">{far}</table:table-row>'
    (page,) = read(MediaType.ODS, f'<table:table table:name="A">{rows}</table:table>')
    assert len(page.text) < 200
    monkeypatch.setattr(odf_sheets, "MAX_CELLS", 10)
    (page,) = read(MediaType.ODS, f'<table:table table:name="A">{row("a", "b") * 20}</table:table>')
    assert page.text.count("b") == 5
    assert "The spreadsheet has more than" in page.warnings[0]


# All


@pytest.mark.parametrize("media_type", [MediaType.ODT, MediaType.ODP, MediaType.ODS])
def test_unsuitable_document_has_a_sentence(media_type: MediaType):
    encrypted = {"META-INF/manifest.xml": xml("<manifest:encryption-data/>")}
    for parts, error, says in [
        ({}, EmptyDocument, "has no"),
        (encrypted, ProtectedDocument, "protected by a password"),
        ({"content.xml": b"<x"}, DamagedDocument, "parts cannot be read"),
        (
            {"content.xml": b"<!DOCTYPE x [<!ENTITY a 'ha'>]><x>&a;</x>"},
            DamagedDocument,
            "entities",
        ),
        ({"content.xml": bytes(60 * 1024 * 1024)}, DocumentTooLarge, "would unpack"),
    ]:
        with pytest.raises(error, match=says):
            read(media_type, "", parts)


@pytest.mark.parametrize("media_type", [MediaType.ODT, MediaType.ODP])
def test_hostile_nesting_is_refused(media_type: MediaType):
    with pytest.raises(DamagedDocument, match="nested too deeply"):
        read(media_type, "<table:table><table:table-row><table:table-cell>" * 12_000 + p("x")
             + "</table:table-cell></table:table-row></table:table>" * 12_000)  # fmt: skip
    with pytest.raises(DamagedDocument, match="nested too deeply"):
        read(media_type, "<draw:text-box>" * 200 + "</draw:text-box>" * 200)
