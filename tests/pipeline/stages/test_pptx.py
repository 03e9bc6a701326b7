from __future__ import annotations

import io

import pytest

from ingestion_progress.pipeline.exceptions import DamagedDocument, EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.uploads.media_types import MediaType, media_type_of
from tests.support.documents import png
from tests.support.office import package, relationships, xml
from tests.support.parsers import parser_for


def lines(*texts: str) -> str:
    return "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in texts)


def shape(*texts: str, kind: str | None = None) -> str:
    placeholder = "" if kind is None else f'<p:ph type="{kind}"/>'
    return (
        f"<p:sp><p:nvSpPr><p:nvPr>{placeholder}</p:nvPr></p:nvSpPr>"
        f"<p:txBody>{lines(*texts)}</p:txBody></p:sp>"
    )


def slides(*contents: str, parts: dict[str, bytes] | None = None, **related: str) -> bytes:
    """A presentation. `related`: relationships of the first slide."""
    count = range(len(contents))
    ids = "".join(f'<p:sldId r:id="slide{number}"/>' for number in reversed(count))
    targets = {f"slide{number}": f"slides/{number}.xml" for number in count}
    written = {
        "ppt/presentation.xml": xml("p:presentation", f"<p:sldIdLst>{ids}</p:sldIdLst>"),
        "ppt/_rels/presentation.xml.rels": relationships(**targets),
        f"ppt/slides/_rels/{count[-1]}.xml.rels": relationships(**related),
    }
    for number, content in zip(reversed(count), contents, strict=True):
        root = "p:sld show='0'" if "HIDDEN" in content else "p:sld"
        written[f"ppt/slides/{number}.xml"] = xml(root, content)
    return package("ppt/presentation.xml", written | (parts or {}))


def read(data: bytes) -> list[Page]:
    assert media_type_of(io.BytesIO(data), "a.pptx") is MediaType.PPTX
    pages = parser_for(MediaType.PPTX).open(io.BytesIO(data), "a.pptx")
    return [pages[index] for index in range(len(pages))]


def test_slide_is_a_page_with_its_title_as_heading():
    first = shape("Point one", "Point two", kind="body") + shape(
        "Bees &amp; honey", kind="ctrTitle"
    )
    pages = read(slides(first, shape("A box") + shape("7", kind="sldNum")))
    assert [(page.number, page.heading, page.text) for page in pages] == [
        (1, "Bees & honey", "# Bees & honey\n\n- Point one\n- Point two"),
        (2, "", "A box"),
    ]


def test_tables_groups_notes_comments_and_charts_are_read():
    cells = "".join(f"<a:tc><a:txBody>{lines(text)}</a:txBody></a:tc>" for text in ("Boat", "Fee"))
    content = f"<p:graphicFrame><a:tbl><a:tr>{cells}</a:tr></a:tbl></p:graphicFrame>"
    content += f"<p:grpSp>{shape('grouped')}</p:grpSp>"
    content += "<p:graphicFrame><c:chart r:id='chart1'/></p:graphicFrame>"
    content += "<p:graphicFrame><dgm:relIds r:dm='diagramData1'/></p:graphicFrame>"
    parts = {
        "ppt/slides/n.xml": xml(
            "p:notes", shape("Slide", kind="sldImg") + shape("Say it", kind="body")
        ),
        "ppt/slides/c.xml": xml("p:cmLst", "<p:cm><p:text>Is it so?</p:text></p:cm>"),
        "ppt/slides/d.xml": xml("c:chartSpace", lines("Catch by year")),
        "ppt/slides/e.xml": xml("dgm:dataModel", lines("First", "Second")),
    }
    (page,) = read(
        slides(
            content,
            parts=parts,
            notesSlide1="n.xml",
            comments1="c.xml",
            chart1="d.xml",
            diagramData1="e.xml",
        )
    )
    assert page.text.split("\n\n") == [
        "Boat | Fee", "grouped", "Catch by year", "First; Second", "- Say it", "Is it so?",
    ]  # fmt: skip


def test_pictures_have_their_alternative_text():
    picture = (
        '<p:pic><p:nvPicPr><p:cNvPr descr="A bee"/></p:nvPicPr><a:blip r:embed="image1"/></p:pic>'
    )
    title = shape("Hive", kind="title")
    (page,) = read(
        slides(title + picture, parts={"ppt/media/a.png": png()}, image1="../media/a.png")
    )
    assert [(each.format, each.alt, each.heading) for each in page.pictures] == [
        ("PNG", "A bee", "Hive")
    ]


def test_hidden_slide_is_a_warning():
    first, second = read(slides(shape("Seen"), shape("HIDDEN")))
    assert (first.text, second.text) == ("Seen", "")
    assert second.warnings == ("Slide 2 is hidden and was left out.",)


def test_numbers_and_fallbacks_are_left_out():
    field = (
        '<p:sp><p:txBody><a:p><a:fld type="slidenum"><a:t>3</a:t></a:fld><a:r><a:t>a</a:t></a:r>'
    )
    field += "<a:br/><a:r><a:t>b</a:t></a:r></a:p></p:txBody></p:sp>"
    both = f"<mc:AlternateContent><mc:Choice>{shape('c')}</mc:Choice><mc:Fallback>{shape('c')}"
    (page,) = read(slides(f"{field}{both}</mc:Fallback></mc:AlternateContent>"))
    assert page.text == "a\nb\n\nc"


def test_presentation_without_slides_or_with_a_broken_one_has_a_sentence():
    empty = {"ppt/presentation.xml": xml("p:presentation", "")}
    with pytest.raises(EmptyDocument, match="has no slides"):
        read(package("ppt/presentation.xml", empty))
    with pytest.raises(DamagedDocument, match="parts cannot be read"):
        read(slides(shape("a"), parts={"ppt/slides/0.xml": b"<p:sld"}))
