from __future__ import annotations

import base64
import io

import pytest
from PIL import Image
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    StreamObject,
)

from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    EmptyDocument,
    MislabelledDocument,
    ProtectedDocument,
    UnreadablePage,
)
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.uploads.media_types import MediaType
from tests.support.documents import EXAMPLES, GUIDE, docx, pdf, png, written
from tests.support.parsers import parser_for


def read(kind: MediaType, data: bytes, name: str = "a.pdf") -> list[Page]:
    source = parser_for(kind).open(io.BytesIO(data), name)
    return [source[index] for index in range(len(source))]


# PDF


def test_pdf_is_read_page_by_page_with_sections_and_pictures():
    pages = read(MediaType.PDF, GUIDE.read_bytes())
    assert [page.number for page in pages] == list(range(1, 135))
    assert "TableStyle" in pages[88].text
    assert pages[88].heading == "7.4 TableStyle Commands"
    pictures = [picture for page in pages for picture in page.pictures]
    assert [picture.number for picture in pictures] == [1, 2]
    jpeg = pictures[1]
    assert (jpeg.page, jpeg.format, jpeg.width, jpeg.height) == (93, "JPEG", 200, 129)


def test_pdf_encrypted_without_a_password_is_read():
    (page,) = read(MediaType.PDF, pdf(1, first=88, password="owner"))
    assert "TableStyle" in page.text


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (pdf(1, password="owner", user="secret"), ProtectedDocument, "protected by a password"),
        (pdf(2)[:-3000], DamagedDocument, "cut off"),
        (written(PdfWriter()), EmptyDocument, "0 pages"),
        (b"%PDF-1.7\n" + b"garbage " * 50 + b"\n%%EOF", DamagedDocument, "damaged"),
        (b"%PDF-1.7\n%%EOF", DamagedDocument, "damaged"),
    ],
)
def test_damaged_pdf_is_refused_with_a_sentence(data, error, says):
    with pytest.raises(error, match="“a") as refused:
        read(MediaType.PDF, data)
    assert says in str(refused.value)


def broken_page_pdf() -> bytes:
    """Three pages; the text of the second has an unknown compression."""
    writer = PdfWriter(clone_from=io.BytesIO(pdf(3, first=20)))
    content = writer.pages[1]["/Contents"].get_object()
    content[NameObject("/Filter")] = NameObject("/Nonsense")
    return written(writer)


def test_damaged_page_does_not_affect_other_pages():
    source = parser_for(MediaType.PDF).open(io.BytesIO(broken_page_pdf()), "a.pdf")
    assert len(source) == 3
    assert source[0].text
    with pytest.raises(UnreadablePage, match="Page 2 is damaged"):
        source[1]
    assert source[2].text


def test_page_without_text_is_a_picture():
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), "blue").save(buffer, "PDF")
    (page,) = read(MediaType.PDF, buffer.getvalue())
    assert page.text.strip() == ""
    assert (page.pictures[0].width, page.pictures[0].height) == (300, 200)
    assert page.pictures[0].page == 1


def scanned(pages: int = 1, size: tuple[int, int] = (300, 200)) -> PdfWriter:
    """Pages that all show the same picture."""
    buffer = io.BytesIO()
    Image.new("RGB", size, "blue").save(buffer, "PDF")
    writer = PdfWriter()
    (page,) = PdfReader(buffer).pages
    for _ in range(pages):
        writer.add_page(page)
    shared = writer.pages[0]["/Resources"]
    for page in writer.pages:
        page[NameObject("/Resources")] = shared
    return writer


def test_repeated_logo_is_one_picture_and_a_thin_line_is_none():
    pages = read(MediaType.PDF, written(scanned(3)))
    assert [len(page.pictures) for page in pages] == [1, 0, 0]
    (page,) = read(MediaType.PDF, written(scanned(size=(300, 2))))
    assert page.pictures == ()


def test_unreadable_picture_does_not_affect_its_page():
    writer = scanned()
    writer.pages[0]["/Resources"][NameObject("/XObject")] = NameObject("/Nonsense")
    (page,) = read(MediaType.PDF, written(writer))
    assert (page.text, page.pictures) == ("", ())


def test_broken_outline_is_ignored():
    writer = scanned()
    writer.add_outline_item(title="Chapter", page_number=0)
    outline = writer.root_object["/Outlines"].get_object()
    outline["/First"].get_object()[NameObject("/Dest")] = NameObject("/Nowhere")
    (page,) = read(MediaType.PDF, written(writer))
    assert page.number == 1


def test_pictures_inside_form_objects_are_found():
    writer = scanned()
    page = writer.pages[0]
    form = StreamObject()
    form[NameObject("/Type")] = NameObject("/XObject")
    form[NameObject("/Subtype")] = NameObject("/Form")
    form[NameObject("/Resources")] = page["/Resources"]
    form[NameObject("/BBox")] = ArrayObject([NumberObject(each) for each in (0, 0, 300, 200)])
    form.set_data(b"300 0 0 200 0 0 cm /image Do")
    shown = StreamObject()
    shown.set_data(b"/F Do")
    page[NameObject("/Contents")] = writer._add_object(shown)
    objects = DictionaryObject({NameObject("/F"): writer._add_object(form)})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/XObject"): objects})
    (read_page,) = read(MediaType.PDF, written(writer))
    assert [picture.width for picture in read_page.pictures] == [300]


# Word


def test_word_document_becomes_headed_text_with_pictures():
    data = (EXAMPLES / "mkdocs-getting-started.docx").read_bytes()
    (page,) = read(MediaType.DOCX, data, "a.docx")
    assert "\n## Installation\n" in page.text
    assert page.number is None
    assert len(page.pictures) == 6
    second = page.pictures[1]
    assert (second.alt, second.format, second.width) == ("The MkDocs live server", "PNG", 1037)
    assert second.heading == "Creating a new project"


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (docx(**{"word/document.xml": b"<not xml"}), DamagedDocument, "parts cannot be read"),
        (docx(**{"_rels/.rels": b""}), DamagedDocument, "parts cannot be read"),
        (docx()[:400], DamagedDocument, "cut off"),
    ],
)
def test_broken_word_document_is_refused_with_a_sentence(data, error, says):
    with pytest.raises(error, match="“a") as refused:
        read(MediaType.DOCX, data, "a.docx")
    assert says in str(refused.value)


def test_word_document_without_words_is_empty():
    body = docx(
        **{
            "word/document.xml": b'<w:document xmlns:w="http://schemas.openxmlformats.org/'
            b'wordprocessingml/2006/main"><w:body></w:body></w:document>'
        }
    )
    with pytest.raises(EmptyDocument, match="has no text"):
        read(MediaType.DOCX, body, "a.docx")


def test_entities_of_hostile_xml_are_not_expanded(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    laughs = ['<!ENTITY l0 "haha">']
    laughs += [f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10)]
    for entity in ("&l9;", "&file;"):
        xml = (
            f'<!DOCTYPE d [{"".join(laughs)}<!ENTITY file SYSTEM "{secret.as_uri()}">]>'
            '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
            f"<w:body><w:p><w:r><w:t>seen {entity}</w:t></w:r></w:p></w:body></w:document>"
        )
        try:
            (page,) = read(MediaType.DOCX, docx(**{"word/document.xml": xml.encode()}), "a.docx")
        except DamagedDocument:
            continue
        assert "the secret" not in page.text
        assert len(page.text) < 1000


# HTML


def html(body: str) -> Page:
    (page,) = read(MediaType.HTML, f"<html><head></head><body>{body}".encode(), "a.html")
    return page


def test_html_structure_becomes_markdown_marks():
    page = html(
        "<h1>Bees <b>&amp;</b> honey</h1><p>One\n  line<br>two</p><ul><li>a<li>b</ul>"
        "<table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table>"
        "<pre>if x:\n    y</pre><!-- c -->"
    )
    assert page.is_markdown
    assert page.text == (
        "# Bees & honey\n\nOne line\ntwo\n\n- a\n- b\n\nk | v\n1 | 2\n\n```\nif x:\n    y\n```"
    )


def test_html_omits_invisible_elements():
    page = html(
        "<script>steal()</script><style>p{}</style><nav>Home</nav><div role=navigation>Next</div>"
        "<template>later</template><h2>Seen<a href=#s>¶</a></h2>"
    )
    assert page.text == "## Seen"


def test_only_the_main_element_of_html_is_read():
    assert html("<p>menu</p><main><p>a long text</p></main><p>imprint</p>").text == "a long text"


def test_html_pictures_are_described_by_their_surroundings_and_never_fetched():
    data = base64.b64encode(png()).decode()
    page = html(
        "<h2>Hive</h2>"
        "<figure><img src=https://example.invalid/a/bee.jpg?x=1 alt='A bee' width=80px>"
        "<figcaption>Figure 1:\n a bee</figcaption></figure>"
        f"<img src='data:image/png;base64,{data}' alt=Red><img src=dot.gif width=1 height=1>"
        "<img src=bee.png alt=bee.png title=Wings><img src='data:image/png;base64,§'><img>"
    )
    found = [(p.format, p.width, p.alt, p.caption, p.heading, p.source) for p in page.pictures]
    assert found == [
        ("JPEG", 80, "A bee", "Figure 1: a bee", "Hive", "bee.jpg"),
        ("PNG", 40, "Red", "", "Hive", ""),
        ("PNG", 0, "", "Wings", "Hive", "bee.png"),
    ]


MALFORMED = ["http://[broken/bee.png", "//bees]/bee.png", "http://\u2100.example/bee.png"]


@pytest.mark.parametrize("address", MALFORMED)
def test_malformed_address_does_not_affect_pictures(address: str):
    image = f'<img src="{address}" alt="A bee">'
    page = html(f"<p>Bees make honey.</p>{image}<img src=hive.jpg>")
    found = [(p.format, p.alt, p.source) for p in page.pictures]
    assert found == [("PNG", "A bee", "bee.png"), ("JPEG", "", "hive.jpg")]
    assert "honey" in page.text


@pytest.mark.parametrize("address", MALFORMED)
@pytest.mark.parametrize("form", ['<img src="{}">', 'Bees <img src="{}">', "![A bee](<{}>)"])
def test_markdown_with_a_malformed_address_is_read(form: str, address: str):
    (page,) = read(MediaType.MARKDOWN, form.format(address).encode(), "a.md")
    assert [(p.format, p.source) for p in page.pictures] == [("PNG", "bee.png")]


def test_deeply_nested_html_is_read_or_refused():
    deep = "<div>" * 5000 + "bottom"
    try:
        assert "bottom" in html(deep).text
    except DamagedDocument as refused:
        assert "nested too deeply" in str(refused)  # noqa: PT017  (either is right)


def test_html_without_visible_text_is_empty():
    with pytest.raises(EmptyDocument):
        html("<script>x</script>")


# Markdown


def test_markdown_is_unchanged_and_its_pictures_are_found():
    text = (
        "# Hive\n\n![A *bee*](img/bee.png 'Wings')\n\n## Honey\n\n"
        'Inline <img src="pot.jpg" alt="A pot"> and\n\n<p><img src="jar.svg"></p>\n'
    )
    (page,) = read(MediaType.MARKDOWN, text.encode(), "a.md")
    assert page.text == text
    found = [(p.format, p.alt, p.caption, p.heading) for p in page.pictures]
    assert found == [
        ("PNG", "A *bee*", "Wings", "Hive"),
        ("JPEG", "A pot", "", "Honey"),
        ("SVG", "", "", "Honey"),
    ]


def test_comments_of_markdown_are_left_out_but_not_in_code():
    text = (
        "A<!-- x -->B `<!-- y -->`\n\n<!-- one\n\n# two\n-->\n\n```\n<!-- z -->\n```\n<!-- no end"
    )
    (page,) = read(MediaType.MARKDOWN, text.encode(), "a.md")
    assert page.text.split() == ["AB", "`<!--", "y", "-->`", "```", "<!--", "z", "-->", "```"]


def test_markdown_of_comments_only_is_empty():
    with pytest.raises(EmptyDocument):
        read(MediaType.MARKDOWN, b"<!-- nothing -->\n", "a.md")


@pytest.mark.parametrize(
    "form", ["![Plan]({})", "![Plan][1]\n\n[1]: <{}>", '<img src="{}" alt=Plan>']
)
def test_embedded_data_are_left_out_of_markdown_and_named_if_they_are_a_picture(form: str):
    bee = base64.b64encode(png(90, 90)).decode()
    for data, formats in [(bee, ["PNG"]), (bee[20:] * 99, [])]:
        text = f"Minutes\n\n{form.format('data:image/png;base64,' + data)}\n\nThe end"
        (page,) = read(MediaType.MARKDOWN, text.encode(), "a.md")
        assert len(page.text) < 80
        assert "The end" in page.text
        assert [(each.format, each.alt) for each in page.pictures] == [
            (each, "Plan") for each in formats
        ]


# Text


@pytest.mark.parametrize(
    "data",
    ["Grüße — 12 €".encode(encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252")],
)
def test_text_is_decoded(data: bytes):
    (page,) = read(MediaType.TEXT, data, "a.txt")
    assert page.text == "Grüße — 12 €"


def test_form_feeds_separate_pages():
    pages = read(MediaType.TEXT, b"one\r\ntwo\fthree\f\n", "rfc.txt")
    assert [(page.number, page.text) for page in pages] == [(1, "one\ntwo"), (2, "three")]


def test_binary_data_is_refused():
    with pytest.raises(MislabelledDocument):
        read(MediaType.TEXT, b"text at first" + bytes(range(32)), "a.txt")
    with pytest.raises(EmptyDocument):
        read(MediaType.TEXT, b"\n \n", "a.txt")
