"""Parses Markdown: keeps the text as it is and collects the pictures."""

from typing import BinaryIO

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.html import html_pictures
from ingestion_progress.pipeline.stages.parsers.pictures import PictureList
from ingestion_progress.pipeline.stages.parsers.text import read_text


class MarkdownParser:
    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name)
        pictures = PictureList()
        heading = ""
        tokens = MarkdownIt("commonmark").enable("table").parse(source.text)
        for before, token in zip([None, *tokens], tokens, strict=False):
            if token.type == "inline" and before is not None and before.type == "heading_open":
                heading = token.content
            _collect(token, heading, pictures)
        page = Page(
            number=None,
            text=source.text,
            is_markdown=True,
            pictures=pictures.as_tuple(),
            warnings=source.warnings,
        )
        return [page]


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
