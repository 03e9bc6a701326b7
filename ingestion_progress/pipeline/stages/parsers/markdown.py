"""Parses Markdown: keeps the text, without comments and embedded data, and collects pictures."""

from __future__ import annotations

import re
from typing import BinaryIO

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.html import html_pictures
from ingestion_progress.pipeline.stages.parsers.pictures import PictureList
from ingestion_progress.pipeline.stages.parsers.text import read_text

COMMENT_START, COMMENT_END = "<!--", "-->"
DATA = r"data:[\w.+/-]{0,80}(?:;[\w=-]{1,40}){0,4},[\w+/=%.~-]{100,}"
# Google Docs exports it as the target of a reference.
DATA_ADDRESS = re.compile(
    rf"^ {{0,3}}\[[^\]\n]{{1,200}}\]:[ \t]*<?{DATA}>?[ \t]*\n?|{DATA}", re.MULTILINE
)


class MarkdownParser:
    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name)
        page = markdown_page(source.text, source.warnings)
        if not page.text.strip() and not page.pictures:
            raise EmptyDocument(
                StoredSentence("“%(name)s” has no text that a reader would see.", name=name)
            )
        return [page]


def markdown_page(text: str, warnings: tuple[str, ...] = ()) -> Page:
    pictures = PictureList()
    heading = ""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "inline" and before is not None and before.type == "heading_open":
            heading = token.content
        _collect(token, heading, pictures)
    return Page(
        number=None,
        text=DATA_ADDRESS.sub("", _without_comments(text, tokens)),
        is_markdown=True,
        pictures=pictures.as_tuple(),
        warnings=warnings,
    )


def _without_comments(text: str, tokens: list[Token]) -> str:
    if COMMENT_START not in text:
        return text
    lines = text.split("\n")
    # The last lines come first, so that the numbers of the lines before them stay right.
    for token in reversed(tokens):
        is_inline = token.type == "inline" and token.children
        if token.map and (is_inline or token.type == "html_block"):
            first, last = token.map
            block = "\n".join(lines[first:last])
            cleaned = _without_inner(block, token) if is_inline else _outside_comments(block)
            lines[first:last] = cleaned.split("\n")
    return "\n".join(lines)


def _without_inner(block: str, token: Token) -> str:
    """Not those in code, which have the same form."""
    pieces = []
    at = 0
    for child in token.children or ():
        if child.type == "html_inline" and child.content.startswith(COMMENT_START):
            start = block.find(child.content, at)
            if start >= 0:
                pieces.append(block[at:start])
                at = start + len(child.content)
    return "".join([*pieces, block[at:]])


def _outside_comments(markup: str) -> str:
    """A comment without an end reaches to the end of its block."""
    pieces = []
    at = 0
    while (start := markup.find(COMMENT_START, at)) >= 0:
        pieces.append(markup[at:start])
        end = markup.find(COMMENT_END, start)
        at = end + len(COMMENT_END) if end >= 0 else len(markup)
    return "".join([*pieces, markup[at:]])


def _collect(token: Token, heading: str, pictures: PictureList) -> None:
    if token.type == "html_block":
        html_pictures(token.content, heading, pictures)
    for child in token.children or ():
        if child.type == "image":
            pictures.add(
                str(child.attrs.get("src", "")),
                alt=child.content,
                caption=str(child.attrs.get("title", "")),
                heading=heading,
            )
        elif child.type == "html_inline":
            html_pictures(child.content, heading, pictures)
