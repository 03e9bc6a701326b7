"""Converts HTML to Markdown-like text without fetching or executing anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

from selectolax.lexbor import LexborHTMLParser, LexborNode

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import DamagedDocument, EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.html_tree import (
    SPACE,
    main_elements,
    next_element,
    text_of,
    title_of,
    walk,
)
from ingestion_progress.pipeline.stages.parsers.pictures import PictureFiles, PictureList
from ingestion_progress.pipeline.stages.parsers.text import read_text

HEADINGS = {f"h{level}": level for level in range(1, 7)}
BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details"}
    | {"dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header"}
    | {"hr", "legend", "main", "ol", "option", "p", "section", "summary", "table", "ul"}
)
# What is inserted before and after the content of a tag.
MARKS = dict.fromkeys(BLOCKS, ("\n\n", "\n\n"))
MARKS |= {tag: (f"\n\n{'#' * level} ", "\n\n") for tag, level in HEADINGS.items()}
MARKS |= {"li": ("\n- ", ""), "tr": ("\n", ""), "br": ("", "\n"), "pre": ("\n\n```\n", "\n```\n\n")}
CELLS = {"td", "th"}
# A longer row is a layout, whose cells are pages rather than values.
MAX_ROW = 1000
LAYOUT = {*HEADINGS, "pre"}
SINGLE_INDENT = re.compile(r"^ (?! )|(?<=# ) +")
# A list item whose text is a paragraph.
ITEM_GAP = re.compile(r"^-\n\n(?=[^\s`#-])", re.MULTILINE)
BLANK_LINES = re.compile(r"\n{2,}")
# A line of text that Markdown would take for a heading.
LIKE_HEADING = re.compile(r"^(\s*)(?=#{1,6}\s)")
# The parser takes quadratic time for blocks within blocks: 0.1 s for this depth.
MAX_DEPTH = 10_000
TOO_DEEP = StoredSentence(
    "The document is nested too deeply to be read. Export it again as plain text."
)
# Blocks that only their own end tag ends.
NESTING = "|".join(sorted(BLOCKS - {"dd", "dt", "hr", "option", "p"}))
NESTED = re.compile(rf"<(/?)(?:{NESTING})\b", re.IGNORECASE)

XHTML = re.compile(r"<\?xml|http://www\.w3\.org/1999/xhtml")
XHTML_WITHIN = 1000
# Elements that XML may end in their first tag, and HTML may not.
SELF_CLOSED = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr)\b)([a-z]\w*)"
    r"(\s[^<>]*)?/>",
    re.IGNORECASE,
)


class HtmlParser:
    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name, is_markup=True)
        page = html_page(source.text)
        if not page.text and not page.pictures:
            raise EmptyDocument(
                StoredSentence("“%(name)s” has no text that a reader would see.", name=name)
            )
        return [replace(page, warnings=source.warnings)]


def html_page(html: str, embedded: Mapping[str, bytes] | None = None) -> Page:
    """One page of Markdown-like text. `embedded`: the bytes of pictures by their `src`.

    If most text is in `main` elements, only these are read. The title is put before a text that
    does not have it. Raises DamagedDocument for a nesting that would take the parser minutes.
    """
    if _depth(html) > MAX_DEPTH:
        raise DamagedDocument(TOO_DEEP)
    if XHTML.search(html[:XHTML_WITHIN]):
        html = SELF_CLOSED.sub(r"<\1\2></\1>", html)
    tree = LexborHTMLParser(html)
    roots = main_elements(tree)
    reader = _Reader({} if embedded is None else embedded, PictureList())
    for root in roots:
        reader.read(root)
    text = _tidy("".join(reader.pieces))
    title = SPACE.sub(" ", title_of(tree)).strip()
    if text and title and title not in SPACE.sub(" ", text):
        text = f"{title}\n\n{text}"
    return Page(number=None, text=text, is_markdown=True, pictures=reader.pictures.as_tuple())


def body_of(html: str) -> str:
    """The content of its body, with all end tags. Raises DamagedDocument, as `html_page` does."""
    if _depth(html) > MAX_DEPTH:
        raise DamagedDocument(TOO_DEEP)
    body = LexborHTMLParser(html).body
    return (body.inner_html or "") if body is not None else ""


def html_pictures(html: str, heading: str, pictures: PictureList) -> None:
    """Collects the pictures of an HTML fragment in Markdown."""
    _Reader({}, pictures, heading).read(LexborHTMLParser(html).root)


@dataclass
class _Row:
    """A row of a table that is being read."""

    start: int
    has_cells: bool = False
    """More than one."""
    is_layout: bool = False


class _Reader:
    """Collects the text and the pictures below elements, in one pass over the tree."""

    def __init__(
        self, embedded: Mapping[str, bytes], pictures: PictureList, heading: str = ""
    ) -> None:
        self.pieces: list[str] = []
        self.pictures = pictures
        self._embedded = embedded
        self._heading = heading
        self._preformatted = 0
        self._rows: list[_Row] = []

    def read(self, root: LexborNode | None) -> None:
        for node, is_end in walk(root):
            tag = str(node.tag)
            if tag == "-text":
                self._add_text(node.text_content or "")
            elif is_end:
                self._leave(node, tag)
            else:
                self._enter(node, tag)

    def _enter(self, node: LexborNode, tag: str) -> None:
        self.pieces.append(MARKS.get(tag, ("", ""))[0])
        if self._rows and tag in LAYOUT:
            self._rows[-1].is_layout = True
        if tag == "pre":
            self._preformatted += 1
        elif tag == "tr":
            self._rows.append(_Row(len(self.pieces)))
        elif tag in HEADINGS:
            self._heading = text_of(node)
        elif tag == "img":
            self._add_picture(node)

    def _leave(self, node: LexborNode, tag: str) -> None:
        if tag == "pre":
            self._preformatted -= 1
        if tag in CELLS and next_element(node) in CELLS:
            self.pieces.append(" | ")
            if self._rows:
                self._rows[-1].has_cells = True
            return
        if tag == "tr" and self._rows:
            self._end_row(self._rows.pop())
        self.pieces.append(MARKS.get(tag, ("", ""))[1])

    def _end_row(self, row: _Row) -> None:
        """Writes a row in one line, whatever its cells are made of."""
        pieces = self.pieces[row.start :]
        if row.is_layout or sum(map(len, pieces)) > MAX_ROW:
            if self._rows:
                self._rows[-1].is_layout = True
        elif row.has_cells:
            line = SPACE.sub(" ", "".join(pieces)).strip()
            self.pieces[row.start :] = [line] if line.strip("| ") else []

    def _add_text(self, text: str) -> None:
        if self._preformatted:
            self.pieces.append(text)
            return
        text = SPACE.sub(" ", text)
        last = next((piece for piece in reversed(self.pieces) if piece), "\n")
        self.pieces.append(LIKE_HEADING.sub(r"\1\\", text) if last.endswith("\n") else text)

    def _add_picture(self, node: LexborNode) -> None:
        attributes = node.attributes
        source = str(attributes.get("src") or "")
        text = {
            "alt": _alt(attributes, source),
            "caption": _caption(node, attributes),
            "heading": self._heading,
        }
        if source in self._embedded:
            content = partial(_content, self._embedded, source)
            self.pictures.add_file(self._embedded[source], content, **text)
        elif source:
            width, height = (_pixels(attributes, side) for side in ("width", "height"))
            self.pictures.add(source, width=width, height=height, **text)


def _content(embedded: Mapping[str, bytes], source: str) -> bytes:
    return embedded.content(source) if isinstance(embedded, PictureFiles) else embedded[source]


def _depth(html: str) -> int:
    """The most blocks within each other, as far as their tags show it."""
    depth = deepest = 0
    for tag in NESTED.finditer(html):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest


def _caption(image: LexborNode, attributes: Mapping[str, str | None]) -> str:
    parent = image.parent
    while parent is not None and parent.tag != "figure":
        parent = parent.parent
    caption = parent.css_first("figcaption") if parent is not None else None
    text = text_of(caption) if caption is not None else str(attributes.get("title") or "")
    return SPACE.sub(" ", text).strip()


def _alt(attributes: Mapping[str, str | None], source: str) -> str:
    """The alternative text; empty if it only repeats the address, as some generators do."""
    alt = SPACE.sub(" ", str(attributes.get("alt") or "")).strip()
    return "" if alt == source else alt


def _pixels(attributes: Mapping[str, str | None], side: str) -> int:
    value = str(attributes.get(side) or "").removesuffix("px")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0


def _tidy(text: str) -> str:
    """Removes the single spaces that tags leave at line ends; code keeps its indents."""
    lines = [SINGLE_INDENT.sub("", line.rstrip()) for line in text.split("\n")]
    return ITEM_GAP.sub("- ", BLANK_LINES.sub("\n\n", "\n".join(lines))).strip()
