from __future__ import annotations

import io

import pytest

from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    EmptyDocument,
    UnsupportedDocument,
)
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers import xlsx_sheet
from ingestion_progress.pipeline.uploads.media_types import MediaType, media_type_of
from tests.support.office import package, relationships, xml
from tests.support.parsers import parser_for


def row(*cells: str) -> str:
    return f"<s:row>{''.join(cells)}</s:row>"


def number(value: object, style: int = 0, at: str = "") -> str:
    return f'<s:c s="{style}" {at and f"""r="{at}" """}><s:v>{value}</s:v></s:c>'


def text(value: str, at: str = "") -> str:
    at = at and f'r="{at}"'
    return f'<s:c t="inlineStr" {at}><s:is><s:t>{value}</s:t></s:is></s:c>'


def workbook(
    sheets: dict[str, str],
    *,
    shared: str = "",
    formats: str = "",
    states: dict[str, str] | None = None,
    parts: dict[str, bytes] | None = None,
    properties: str = "",
) -> bytes:
    """`sheets`: rows by the names of the sheets."""
    shown = dict.fromkeys(sheets, "visible") | (states or {})
    rows = "".join(
        f'<s:sheet name="{name}" r:id="worksheet{number}" state="{shown[name]}"/>'
        for number, name in enumerate(sheets)
    )
    related = {f"worksheet{number}": f"worksheets/{number}.xml" for number in range(len(sheets))}
    related |= {"sharedStrings1": "strings.xml", "styles1": "styles.xml"}
    written = {
        "xl/workbook.xml": xml("s:workbook", f"{properties}<s:sheets>{rows}</s:sheets>"),
        "xl/_rels/workbook.xml.rels": relationships(**related),
        "xl/strings.xml": xml("s:sst", shared),
        "xl/styles.xml": xml("s:styleSheet", formats),
    }
    for index, content in enumerate(sheets.values()):
        data = xml("s:worksheet", f"<s:sheetData>{content}</s:sheetData>")
        written[f"xl/worksheets/{index}.xml"] = data
    return package("xl/workbook.xml", written | (parts or {}))


def read(data: bytes) -> list[Page]:
    assert media_type_of(io.BytesIO(data), "a.xlsx") is MediaType.XLSX
    pages = parser_for(MediaType.XLSX).open(io.BytesIO(data), "a.xlsx")
    return [pages[index] for index in range(len(pages))]


def lines(*rows: str, **more: str) -> list[str]:
    (page,) = read(workbook({"Sheet1": "".join(rows)}, **more))
    assert page.text.startswith("Sheet1\n\n")
    return page.text.split("\n")[2:]


def test_sheet_is_a_page_and_a_row_is_a_line():
    pages = read(workbook({"Boats": row(text("Boat"), text("Fee")), "Birds": row(text("Knot"))}))
    assert [(page.number, page.heading, page.text) for page in pages] == [
        (1, "Boats", "Boats\n\nBoat | Fee"),
        (2, "Birds", "Birds\n\nKnot"),
    ]


def test_hidden_sheets_are_left_out_with_a_warning():
    data = workbook({"A": row(text("a")), "B": row(text("b"))}, states={"A": "hidden"})
    (page,) = read(data)
    assert (page.number, page.text) == (2, "B\n\nb")
    assert page.warnings == ("Sheet “A” is hidden and was left out.",)
    with pytest.raises(EmptyDocument, match="no sheet that can be seen"):
        read(workbook({"A": ""}, states={"A": "veryHidden"}))


def test_texts_may_be_shared_formatted_or_results():
    runs = "<s:r><s:t>rich </s:t></s:r><s:r><s:t>text</s:t></s:r>"
    shared = f"<s:si>{runs}<s:rPh><s:t>x</s:t></s:rPh></s:si>"
    cells = [f'<s:c t="{kind}"><s:v>{value}</s:v></s:c>' for kind, value in [
        ("s", "0"), ("s", "9"), ("str", "a\n b"), ("b", "1"), ("b", "0"), ("e", "#REF!"),
    ]]  # fmt: skip
    assert lines(row(*cells), shared=shared) == ["rich text | a b | TRUE | FALSE"]


@pytest.mark.parametrize(
    ("code", "value", "shown"),
    [
        ("General", "0.30000000000000004", "0.3"),
        ("General", "12345678901234567890", "12345678901234567890"),
        ("0.00", "7", "7"),
        ("0%", "0.25", "25%"),
        ("yyyy-mm-dd hh:mm", "46327.5208333333", "2026-11-01 12:30"),
        ("d.m.yy", "46327", "2026-11-01"),
        ('"days" 0', "46327", "46327"),
        ("[Red]0", "46327", "46327"),
        ("[h]:mm", "0.5", "12:00"),
        ("d.m.yy", "1e300", "1e300"),
        ("d.m.yy", "soon", "soon"),
    ],
)
def test_numbers_are_shown_by_their_format(code: str, value: str, shown: str):
    escaped = code.replace('"', "&quot;")
    formats = (
        f'<s:numFmts><s:numFmt numFmtId="200" formatCode="{escaped}"/></s:numFmts>'
        '<s:cellStyleXfs><s:xf numFmtId="14"/></s:cellStyleXfs>'
        '<s:cellXfs><s:xf numFmtId="0"/><s:xf numFmtId="200"/></s:cellXfs>'
    )
    assert lines(row(number(value, 1)), formats=formats) == [shown]


def test_dates_may_be_counted_from_1904():
    formats = '<s:cellXfs><s:xf numFmtId="14"/></s:cellXfs>'
    properties = '<s:workbookPr date1904="1"/>'
    assert lines(row(number(44865)), formats=formats, properties=properties) == ["2026-11-01"]


def test_empty_cells_between_others_are_kept_as_far_as_a_reader_would_count_them():
    first, last = text("a", "A1"), text("z", "XFD1")
    assert lines(row(first, text("c", "C1"))) == ["a |  | c"]
    assert len(lines(row(first, last))[0]) < 100
    assert lines(row(text("", "A1")), row(), row(text("b"))) == ["b"]


def test_comments_text_boxes_charts_and_pictures_of_a_sheet_are_read():
    parts = {
        "xl/worksheets/_rels/0.xml.rels": relationships(comments1="../c.xml", drawing1="../d.xml"),
        "xl/c.xml": xml(
            "s:comments", '<s:comment ref="B2"><s:r><s:t>a hawfinch</s:t></s:r></s:comment>'
        ),
        "xl/d.xml": xml("a:x", "<a:p><a:r><a:t>a box</a:t></a:r></a:p>"),
        "xl/_rels/d.xml.rels": relationships(chart1="e.xml", image1="f.png"),
        "xl/e.xml": xml("c:chartSpace", "<a:p><a:t>a chart</a:t></a:p>"),
        "xl/f.png": b"no picture",
    }
    (page,) = read(workbook({"A": row(text("a"))}, parts=parts))
    assert page.text.split("\n")[2:] == ["a", "B2: a hawfinch", "a box", "a chart"]
    assert len(page.pictures) == 1


def test_sheet_of_too_many_cells_or_characters_is_cut_with_a_warning(monkeypatch):
    monkeypatch.setattr(xlsx_sheet, "MAX_CELLS", 10)
    (page,) = read(workbook({"A": row(text("a"), text("b")) * 20}))
    assert page.text.count("b") == 5
    assert "has more than 10 cells" in page.warnings[0]
    monkeypatch.setattr(xlsx_sheet, "MAX_CHARACTERS", 2000)
    shared = f"<s:si><s:t>{'x' * 1500}</s:t></s:si>"
    (page,) = read(
        workbook({"A": '<s:row><s:c t="s"><s:v>0</s:v></s:c></s:row>' * 9}, shared=shared)
    )
    assert len(page.text) < 3100
    assert page.warnings


def test_cells_far_apart_need_no_memory():
    far = f'<s:row r="1048576">{text("last", "XFD1048576")}</s:row>'
    assert lines(row(text("first", "A1")), far)[0] == "first"


def test_broken_and_other_workbooks_have_a_sentence():
    with pytest.raises(DamagedDocument, match="parts cannot be read"):
        read(workbook({"A": "<s:row>"}, parts={"xl/worksheets/0.xml": b"<s:worksheet"}))
    with pytest.raises(DamagedDocument, match="declares entities"):
        laughs = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x>&b;</x>'
        read(workbook({"A": ""}, parts={"xl/strings.xml": laughs}))
    with pytest.raises(UnsupportedDocument, match=r"a binary Excel workbook.*\.xlsx"):
        media_type_of(io.BytesIO(package("xl/workbook.bin", {"xl/workbook.bin": b"x"})), "a.xlsb")
