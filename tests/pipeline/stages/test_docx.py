from __future__ import annotations

import io
import os
import re
import struct
import tracemalloc
import zipfile
from html import escape

import pytest
from PIL import Image

from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    DocumentTooLarge,
    ProtectedDocument,
)
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.chunking import SemanticChunker
from ingestion_progress.pipeline.uploads.media_types import MediaType, media_type_of
from tests.support.documents import WORD_PARTS, archive, docx, png
from tests.support.office import relationships, xml
from tests.support.parsers import parser_for


def word(body: str, parts: dict[str, bytes] | None = None, **related: str) -> bytes:
    """A Word document. `related`: targets of relationships by their ids."""
    written = {"word/document.xml": xml("w:document", f"<w:body>{body}</w:body>")}
    written["word/_rels/document.xml.rels"] = relationships(**related)
    return docx(**written | (parts or {}))


def p(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr>{r(text)}</w:p>"


def r(text: str, properties: str = "") -> str:
    text = escape(text)
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def table(*rows: list[str]) -> str:
    cells = ["".join(f"<w:tc>{p(cell)}</w:tc>" for cell in row) for row in rows]
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in cells)}</w:tbl>"


def read(data: bytes) -> Page:
    assert media_type_of(io.BytesIO(data), "a.docx") is MediaType.DOCX
    (page,) = parser_for(MediaType.DOCX).open(io.BytesIO(data), "a.docx")
    return page


def text_of(body: str, parts: dict[str, bytes] | None = None, **related: str) -> str:
    return read(word(body, parts, **related)).text


def test_page_headers_and_footers_are_read_once():
    header, other = (xml("w:hdr", p(text)) for text in ("Contract HOOPOE-4711", "7"))
    parts = {"word/h1.xml": header, "word/h2.xml": header, "word/h3.xml": other}
    parts["word/f1.xml"] = xml("w:ftr", p("Signed at Wrynecktown"))
    text = text_of(
        p("The body."),
        parts,
        header1="h1.xml",
        header2="h2.xml",
        header3="h3.xml",
        footer1="f1.xml",
    )
    assert text == "Contract HOOPOE-4711\n\nThe body.\n\nSigned at Wrynecktown"


def test_notes_and_comments_follow_the_paragraph_that_has_them():
    notes = {
        f"word/{kind}s.xml": xml(f"w:{kind}s", f'<w:{kind} w:id="2" {more}>{p(text)}</w:{kind}>')
        for kind, text, more in [
            ("footnote", "The crossbill.", ""),
            ("endnote", "The siskin.", ""),
            ("comment", "The hawfinch.", 'w:author="Ann"'),
        ]
    }
    references = "".join(
        f'<w:r><w:{kind}Reference w:id="2"/></w:r>' for kind in ("footnote", "comment", "endnote")
    )
    text = text_of(
        f"<w:p>{r('One')}{references}</w:p>{p('Two')}",
        notes,
        footnotes="footnotes.xml",
        endnotes="endnotes.xml",
        comments="comments.xml",
    )
    assert (
        text == "One[1][2]\n\n[1] The crossbill.\n\n[Ann] The hawfinch.\n\n[2] The siskin.\n\nTwo"
    )


@pytest.mark.parametrize(
    ("omml", "written"),
    [
        ("{E=m}<m:sSup><m:e>{c}</m:e><m:sup>{2}</m:sup></m:sSup>", "E=mc^2"),
        ("<m:f><m:num>{a+b}</m:num><m:den>{2}</m:den></m:f>", "(a+b)/2"),
        ("<m:rad><m:deg/><m:e>{x+1}</m:e></m:rad>", "√(x+1)"),
        (
            '<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>{i}</m:sub><m:sup>{n}</m:sup>\
<m:e>{i}</m:e></m:nary>',
            "∑_i^n i",
        ),
        ("<m:d><m:e>{x}</m:e><m:e>{y}</m:e></m:d>", "(x, y)"),
        (
            "<m:m><m:mr><m:e>{1}</m:e><m:e>{0}</m:e></m:mr><m:mr><m:e>{2}</m:e></m:mr></m:m>",
            "[1, 0; 2]",
        ),
        ("<m:f><m:num>" * 200 + "{x}" + "</m:num></m:f>" * 200, "x"),
    ],
)
def test_equations_are_written_in_one_line(omml: str, written: str):
    runs = re.sub(r"\{(.*?)\}", r"<m:r><m:t>\1</m:t></m:r>", omml)
    equation = f"<m:oMath>{runs}</m:oMath>"
    assert written in text_of(f"<w:p>{r('So ')}{equation}{r('.')}</w:p>")
    assert written in text_of(f"<m:oMathPara>{equation}</m:oMathPara>")


@pytest.mark.parametrize(
    ("part", "content", "expected"),
    [
        (
            "a.html",
            b"<h2>Hive</h2><script>x</script><p>open <b>bee",
            "# One\n\n## Hive\n\nopen bee",
        ),
        ("a.mht", b"Content-Type: text/html\n\n<p>Saved", "# One\n\nSaved"),
        ("a.txt", "Grüße\n<b>".encode("utf-16"), "# One\n\nGrüße\n\n<b>"),
    ],
)
def test_embedded_texts_are_read(part: str, content: bytes, expected: str):
    body = p("One", '<w:outlineLvl w:val="0"/>') + '<w:altChunk r:id="aFChunk1"/>' + p("Two")
    text = text_of(body, {f"word/{part}": content}, aFChunk1=part)
    assert text == f"{expected}\n\nTwo"


def test_an_embedded_document_of_another_kind_is_a_warning():
    body = p("One") + '<w:altChunk r:id="aFChunk1"/>'
    page = read(word(body, {"word/a.docx": docx()}, aFChunk1="a.docx"))
    assert page.text == "One"
    assert page.warnings == ("A document that is embedded in this one was left out.",)


@pytest.mark.parametrize("part", ["word/document2.xml", "word\\document.xml", "Word/Document.xml"])
def test_main_part_may_have_another_name(part: str):
    parts = {name: data for name, data in WORD_PARTS.items() if name != "word/document.xml"}
    parts["_rels/.rels"] = WORD_PARTS["_rels/.rels"].replace(
        b"word/document.xml", part.encode().replace(b"Word/Document", b"/word/document")
    )
    parts[part] = WORD_PARTS["word/document.xml"]
    assert read(archive(parts)).text == "Bees make honey."


def zip64(data: bytes) -> bytes:
    """The same archive with the end records of ZIP64."""
    at = data.rfind(b"PK\x05\x06")
    *_, count, size, offset, _ = struct.unpack("<4s4H2LH", data[at : at + 22])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0)
    return data[:at] + record + locator + end


def test_archive_with_end_records_of_zip64_is_read():
    data = zip64(docx())
    assert read(data).text == "Bees make honey."
    many = bytearray(data)
    struct.pack_into("<Q", many, data.rfind(b"PK\x06\x06") + 32, 10**9)
    with pytest.raises(DocumentTooLarge):
        read(bytes(many))
    struct.pack_into("<Q", many, data.rfind(b"PK\x06\x07") + 8, 2**64 - 1)
    with pytest.raises(DamagedDocument, match="cannot be opened"):
        read(bytes(many))


def test_blank_bitmap_may_be_packed_to_a_thousandth():
    white = io.BytesIO()
    Image.new("RGB", (3000, 4000), "white").save(white, "BMP")
    drawing = (
        '<w:r><w:drawing><wp:docPr descr="A page"/><a:blip r:embed="image1"/></w:drawing></w:r>'
    )
    page = read(
        word(f"<w:p>{drawing}</w:p>", {"word/scan.bmp": white.getvalue()}, image1="scan.bmp")
    )
    assert [(each.format, each.width, each.alt) for each in page.pictures] == [
        ("BMP", 3000, "A page")
    ]


def test_password_has_a_sentence():
    encrypted = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(9000)
        + "EncryptedPackage".encode("utf-16-le")
        + bytes(99)
    )
    with pytest.raises(ProtectedDocument, match=r"“a\.docx” is protected by a password"):
        media_type_of(io.BytesIO(encrypted), "a.docx")


def test_row_of_a_table_is_one_line_also_in_chunks():
    rows = [
        ["Boat", "Fee", "Berth"],
        *([f"Bunting {n}", f"{n}0 crowns", f"quay {n}"] for n in range(60)),
    ]
    page = read(word(p("Fees") + table(*rows) + p("End")))
    lines = [" | ".join(row) for row in rows]
    assert page.text == "\n".join(["Fees", "", *lines, "", "End"])
    chunks = [chunk.text for chunk in SemanticChunker().chunks(page, 1)]
    assert len(chunks) > 1
    assert all(sum(line in chunk for chunk in chunks) == 1 for line in lines[1:])


def test_cells_with_paragraphs_lists_and_tables_stay_in_one_line():
    inner = table(["a", "b"])
    row = f"<w:tr><w:tc>{p('Boat')}{p('small')}</w:tc><w:tc>{inner}</w:tc></w:tr>"
    assert text_of(f"<w:tbl>{row}</w:tbl>") == "Boat small | a | b"


def test_layout_in_a_table_keeps_its_paragraphs():
    long = "The keeper writes the wind into the book. " * 20
    row = f"<w:tr><w:tc>{p(long)}{p(long)}</w:tc><w:tc>{p('Aside')}</w:tc></w:tr>"
    assert text_of(f"<w:tbl>{row}</w:tbl>").count("\n\n") >= 2


def test_tables_nested_150_deep_are_read():
    nested = f"<w:tbl><w:tr><w:tc>{p('x')}</w:tc><w:tc>" * 150
    assert "siskin" in text_of(nested + p("siskin") + "</w:tc></w:tr></w:tbl>" * 150)


@pytest.mark.parametrize(
    "deep",
    [
        "<w:tbl><w:tr><w:tc>" * 20_000 + p("x") + "</w:tc></w:tr></w:tbl>" * 20_000,
        "<w:p><w:r><w:txbxContent>" * 200 + "</w:txbxContent></w:r></w:p>" * 200,
    ],
)
def test_hostile_nesting_is_refused(deep: str):
    with pytest.raises(DamagedDocument, match="nested too deeply"):
        text_of(deep)


def test_text_box_follows_its_paragraph_and_its_fallback_is_left_out():
    box = f"<w:txbxContent>{p('Box one')}{p('Box two')}</w:txbxContent>"
    both = (
        f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice>"
        f"<mc:Fallback><w:pict><v:textbox>{box}</v:textbox></w:pict></mc:Fallback>"
        "</mc:AlternateContent>"
    )
    assert (
        text_of(f"<w:p>{r('be')}<w:r>{both}</w:r>{r('fore')}</w:p>")
        == "before\n\nBox one\n\nBox two"
    )


def test_tracked_changes_are_accepted():
    body = (
        f"<w:p>{r('Keep ')}<w:ins>{r('new ')}</w:ins><w:del><w:r><w:delText>old</w:delText></w:r>"
        f"</w:del><w:moveFrom>{r('there')}</w:moveFrom><w:moveTo>{r('here')}</w:moveTo></w:p>"
    )
    body += p("joined ", "<w:rPr><w:del/></w:rPr>") + p("line")
    body += f"<w:tbl><w:tr><w:trPr><w:del/></w:trPr><w:tc>{p('gone')}</w:tc></w:tr></w:tbl>"
    assert text_of(body) == "Keep new here\n\njoined line"


def test_hidden_text_is_left_out():
    styles = xml(
        "w:styles",
        '<w:style w:styleId="H"><w:rPr><w:vanish/></w:rPr></w:style>'
        '<w:style w:styleId="I"><w:basedOn w:val="H"/></w:style>',
    )
    body = f"<w:p>{r('Seen')}{r('cuckoo', '<w:vanish/>')}</w:p>"
    body = body.replace("</w:p>", r("!", '<w:vanish w:val="0"/>'))
    body += r("cuckoo", '<w:rStyle w:val="I"/>') + "</w:p>"
    body += p("cuckoo", '<w:pStyle w:val="H"/>')
    assert text_of(body, {"word/styles.xml": styles}, styles="styles.xml") == "Seen!"


def test_headings_and_lists_are_those_of_the_styles():
    styles = xml(
        "w:styles",
        '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="Mine"><w:basedOn w:val="berschrift1"/></w:style>'
        '<w:style w:styleId="Own"><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>'
        '<w:style w:styleId="Bullet"><w:pPr><w:numPr/></w:pPr></w:style>'
        '<w:style w:styleId="Loop"><w:basedOn w:val="Loop"/></w:style>',
    )
    texts = {"Mine": "One", "Own": "Two", "Bullet": "first", "Loop": "Text"}
    body = "".join(p(text, f'<w:pStyle w:val="{style}"/>') for style, text in texts.items())
    body += p("second", '<w:numPr><w:numId w:val="3"/></w:numPr>')
    text = text_of(body, {"word/styles.xml": styles}, styles="styles.xml")
    assert text == "# One\n\n## Two\n\n- first\n\nText\n\n- second"


def test_pictures_are_embedded_linked_or_missing():
    drawing = '<w:r><w:drawing><wp:docPr descr="{}"/><a:blip r:{}="{}"/></w:drawing></w:r>'
    body = p("Hive", '<w:outlineLvl w:val="0"/>') + "".join(
        f"<w:p>{drawing.format(*each)}</w:p>"
        for each in [
            ("Red", "embed", "image1"),
            ("Bee", "link", "image2"),
            ("?", "embed", "image3"),
        ]
    )
    body += (
        '<w:p><w:r><w:pict><v:imagedata r:id="image1" o:title=""/></w:pict></w:r></w:p>'.replace(
            "o:title", "title"
        )
    )
    linked = relationships(image1="media/a.png", image3="media/gone.png").replace(
        b"</Relationships>",
        b'<Relationship Id="image2" Type="x/image" TargetMode="External" '
        b'Target="http://example.invalid/bee.jpg"/></Relationships>',
    )
    data = docx(
        **{
            "word/document.xml": xml("w:document", f"<w:body>{body}</w:body>"),
            "word/_rels/document.xml.rels": linked,
            "word/media/a.png": png(),
        }
    )
    found = [(each.format, each.width, each.alt, each.heading) for each in read(data).pictures]
    assert found == [
        ("PNG", 40, "Red", "Hive"),
        ("JPEG", 0, "Bee", "Hive"),
        ("", 0, "?", "Hive"),
        ("PNG", 40, "?", "Hive"),
    ]


def test_memory_does_not_grow_with_the_number_of_pictures():
    count = range(1, 31)
    body = "".join(f'<w:p><w:r><a:blip r:embed="image{number}"/></w:r></w:p>' for number in count)
    parts = {f"word/{number}.png": os.urandom(1024 * 1024) for number in count}
    data = word(body, parts, **{f"image{number}": f"{number}.png" for number in count})
    tracemalloc.start()
    try:
        assert len(read(data).pictures) == 30
        assert tracemalloc.get_traced_memory()[1] < 10 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_words_of_charts_and_diagrams_are_read():
    chart = xml(
        "c:chartSpace",
        "<c:title><a:p><a:t>Catch by </a:t><a:t>year</a:t></a:p></c:title><c:cat><c:strRef>"
        "<c:strCache><c:pt><c:v>Herring</c:v></c:pt></c:strCache></c:strRef></c:cat>",
    )
    body = f'<w:p>{r("See")}<w:r><c:chart r:id="chart1"/></w:r></w:p>'
    assert text_of(body, {"word/c.xml": chart}, chart1="c.xml") == "See\n\nCatch by year; Herring"


def test_codes_of_fields_are_left_out_and_breaks_are_kept():
    body = f"<w:p>{r('a')}<w:r><w:instrText>TOC</w:instrText><w:br/><w:tab/></w:r>{r('b')}</w:p>"
    assert text_of(body) == "a\nb"


def test_damaged_part_is_a_sentence():
    data = bytearray(word(p("text" * 500)))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as file:
        start = file.getinfo("word/document.xml").header_offset
    data[start + 60 : start + 90] = bytes(30)
    with pytest.raises(DamagedDocument, match="is damaged: its parts cannot be read"):
        read(bytes(data))
