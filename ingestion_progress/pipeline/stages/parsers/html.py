"""HTML to Markdown-like text. Nothing is fetched, nothing is executed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

from bs4 import BeautifulSoup
from bs4.element import NavigableString

from ingestion_progress.pipeline.documents import Page, Pages
from ingestion_progress.pipeline.exceptions import DamagedDocument, EmptyDocument
from ingestion_progress.pipeline.stages.parsers.pictures import PictureList
from ingestion_progress.pipeline.stages.parsers.text import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bs4.element import PageElement, Tag

    from ingestion_progress.pipeline.documents import Source

UNSEEN = ["script", "style", "noscript", "template", "head", "svg", "iframe", "object", "nav"]
LINK_MARKS = {"¶", "#", "§"}
HEADINGS = {f"h{level}": level for level in range(1, 7)}
BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "dd", "div", "dl", "dt"}
    | {"fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "main"}
    | {"ol", "p", "pre", "section", "table", "ul"}
)
SPACE = re.compile(r"\s+")
SINGLE_INDENT = re.compile(r"^ (?! )|(?<=# ) +")
BLANK_LINES = re.compile(r"\n{2,}")


class HtmlParser:
    def open(self, file: BinaryIO, name: str) -> Source:
        page = html_page(read_text(file, name), name)
        if not page.text and not page.pictures:
            raise EmptyDocument(f"“{name}” has no text that a reader would see.")
        return Pages.of(page)


def html_page(html: str, name: str, embedded: Mapping[str, bytes] | None = None) -> Page:
    """One page of Markdown-like text. `embedded`: pictures by the `src` that stands for them."""
    try:
        soup = BeautifulSoup(html, "html.parser")
        root = _readable(soup)
        pictures = PictureList()
        collect_pictures(root, pictures, embedded or {})
        _mark_structure(root)
        text = root.get_text()
    except RecursionError:
        raise DamagedDocument(
            f"“{name}” is nested too deeply to be read. Export it again as plain text."
        ) from None
    return Page(number=None, text=_tidy(text), is_markdown=True, pictures=pictures.as_tuple())


def _readable(soup: BeautifulSoup) -> Tag:
    """The part that people come for: without code, navigation and marks to link to a heading."""
    for tag in [*soup(UNSEEN), *soup(role="navigation")]:
        tag.decompose()
    for link in soup("a"):
        if link.get_text(strip=True) in LINK_MARKS:
            link.decompose()
    return soup.find("main") or soup.find(role="main") or soup


def html_pictures(html: str, heading: str, pictures: PictureList) -> None:
    """The pictures in a fragment, as it stands in Markdown."""
    collect_pictures(BeautifulSoup(html, "html.parser"), pictures, {}, heading)


def collect_pictures(
    root: Tag, pictures: PictureList, embedded: Mapping[str, bytes], heading: str = ""
) -> None:
    for tag in root.find_all([*HEADINGS, "img"]):
        if tag.name in HEADINGS:
            heading = SPACE.sub(" ", tag.get_text()).strip()
            continue
        source = str(tag.get("src") or "")
        text = {
            "alt": _alt(tag, source),
            "caption": _caption(tag),
            "heading": heading,
        }
        if source in embedded:
            pictures.add_bytes(embedded[source], **text)
        elif source:
            pictures.add(source, width=_pixels(tag, "width"), height=_pixels(tag, "height"), **text)


def _caption(image: Tag) -> str:
    figure = image.find_parent("figure")
    caption = figure.find("figcaption") if figure else None
    text = caption.get_text() if caption else str(image.get("title") or "")
    return SPACE.sub(" ", text).strip()


def _alt(image: Tag, source: str) -> str:
    """What the picture shows, in words: generators like to put its address there."""
    alt = SPACE.sub(" ", str(image.get("alt") or "")).strip()
    return "" if alt == source else alt


def _pixels(tag: Tag, attribute: str) -> int:
    value = str(tag.get(attribute) or "").removesuffix("px")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0


def _mark_structure(root: Tag) -> None:
    """Puts Markdown's marks where tags say the same, so that the text alone keeps its shape."""
    for text in root.find_all(string=True):
        # Comments and declarations are strings, too, and not to be seen.
        if type(text) is NavigableString and text.find_parent("pre") is None:
            text.replace_with(NavigableString(SPACE.sub(" ", text)))
    for tag in root.find_all(name=True):
        if tag.name in HEADINGS:
            tag.insert_before(f"\n\n{'#' * HEADINGS[tag.name]} ")
            tag.insert_after("\n\n")
        elif tag.name in BLOCKS:
            tag.insert_before("\n\n")
            tag.insert_after("\n\n")
        elif tag.name == "li":
            tag.insert_before("\n- ")
        elif tag.name == "tr":
            tag.insert_before("\n")
        elif tag.name in {"td", "th"}:
            tag.insert_after(" | " if _has_next_cell(tag) else "")
        elif tag.name == "br":
            tag.insert_after("\n")


def _has_next_cell(cell: Tag) -> bool:
    following: PageElement | None = cell.find_next_sibling(["td", "th"])
    return following is not None


def _tidy(text: str) -> str:
    """Without the single spaces that tags leave at the ends of lines; code keeps its indents."""
    lines = [SINGLE_INDENT.sub("", line.rstrip()) for line in text.split("\n")]
    return BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()
