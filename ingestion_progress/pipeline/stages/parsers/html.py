"""Converts HTML to Markdown-like text without fetching or executing anything."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import BinaryIO

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

from ingestion_progress.pipeline.exceptions import DamagedDocument, EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.pictures import PictureList
from ingestion_progress.pipeline.stages.parsers.text import read_text

UNSEEN = ["script", "style", "noscript", "template", "head", "svg", "iframe", "object", "nav"]
LINK_MARKS = {"¶", "#", "§"}
CELLS = ["td", "th"]
HEADINGS = {f"h{level}": level for level in range(1, 7)}
BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "dd", "div", "dl", "dt"}
    | {"fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "main"}
    | {"ol", "p", "pre", "section", "table", "ul"}
)
# What is inserted before and after the content of a tag.
MARKS = dict.fromkeys(BLOCKS, ("\n\n", "\n\n"))
MARKS |= {tag: (f"\n\n{'#' * level} ", "\n\n") for tag, level in HEADINGS.items()}
MARKS |= {"li": ("\n- ", ""), "tr": ("\n", ""), "br": ("", "\n")}
SPACE = re.compile(r"\s+")
SINGLE_INDENT = re.compile(r"^ (?! )|(?<=# ) +")
BLANK_LINES = re.compile(r"\n{2,}")


class HtmlParser:
    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name, is_markup=True)
        page = html_page(source.text, name)
        if not page.text and not page.pictures:
            raise EmptyDocument(f"“{name}” has no text that a reader would see.")
        return [replace(page, warnings=source.warnings)]


def html_page(html: str, name: str, embedded: Mapping[str, bytes] | None = None) -> Page:
    """One page of Markdown-like text. `embedded`: the bytes of pictures by their `src`."""
    try:
        root = _readable(BeautifulSoup(html, "html.parser"))
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
    """The main content, without scripts, navigation and the link marks of headings."""
    for tag in [*soup(UNSEEN), *soup(role="navigation")]:
        tag.decompose()
    for link in soup("a"):
        if link.get_text(strip=True) in LINK_MARKS:
            link.decompose()
    return soup.find("main") or soup.find(role="main") or soup


def html_pictures(html: str, heading: str, pictures: PictureList) -> None:
    """Collects the pictures of an HTML fragment in Markdown."""
    collect_pictures(BeautifulSoup(html, "html.parser"), pictures, {}, heading)


def collect_pictures(
    root: Tag, pictures: PictureList, embedded: Mapping[str, bytes], heading: str = ""
) -> None:
    for tag in root.find_all([*HEADINGS, "img"]):
        if tag.name in HEADINGS:
            heading = SPACE.sub(" ", tag.get_text()).strip()
            continue
        source = str(tag.get("src") or "")
        text = {"alt": _alt(tag, source), "caption": _caption(tag), "heading": heading}
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
    """The alternative text; empty if it only repeats the address, as some generators do."""
    alt = SPACE.sub(" ", str(image.get("alt") or "")).strip()
    return "" if alt == source else alt


def _pixels(tag: Tag, attribute: str) -> int:
    value = str(tag.get(attribute) or "").removesuffix("px")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0


def _mark_structure(root: Tag) -> None:
    """Inserts Markdown marks for headings, blocks, lists and tables."""
    for text in root.find_all(string=True):
        # Not comments and declarations, whose types are subclasses.
        if type(text) is NavigableString and text.find_parent("pre") is None:
            text.replace_with(NavigableString(SPACE.sub(" ", text)))
    for tag in root.find_all([*MARKS, *CELLS]):
        before, after = MARKS.get(tag.name, ("", ""))
        if tag.name in CELLS and tag.find_next_sibling(CELLS) is not None:
            after = " | "
        tag.insert_before(before)
        tag.insert_after(after)


def _tidy(text: str) -> str:
    """Removes the single spaces that tags leave at line ends; code keeps its indents."""
    lines = [SINGLE_INDENT.sub("", line.rstrip()) for line in text.split("\n")]
    return BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()
