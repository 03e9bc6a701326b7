"""Pages to chunks, cut where the text itself has its joints."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from ingestion_progress.pipeline.documents import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingestion_progress.pipeline.documents import Page

# Characters: enough for a thought, and for a search result that can be read at a glance.
CHUNK_SIZE = (600, 1000)
# What is left over at the end of a page and shorter than this joins the chunk before it.
MIN_CHUNK = 120
EXPECTED_CHUNK = 700
# Marked with `#`, or underlined.
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$|^(\S.*)\n(?:=+|-{3,}) *$", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?(?:^\1|\Z)", re.MULTILINE | re.DOTALL)


class Chunker(Protocol):
    def chunks(self, page: Page, first_number: int) -> Iterator[Chunk]:
        """The chunks of a page in order, numbered from `first_number`."""
        ...

    def expected(self, page: Page, after: int = 0) -> int:
        """About how many begin at this offset or later."""
        ...


class SemanticChunker:
    """Cuts at headings (in Markdown), paragraphs, sentences, words: the largest that fits."""

    @cached_property
    def _text(self) -> TextSplitter:
        return TextSplitter(CHUNK_SIZE)

    @cached_property
    def _markdown(self) -> MarkdownSplitter:
        return MarkdownSplitter(CHUNK_SIZE)

    def expected(self, page: Page, after: int = 0) -> int:
        return -(-len(page.text[after:].strip()) // EXPECTED_CHUNK)

    def chunks(self, page: Page, first_number: int) -> Iterator[Chunk]:
        headings = _headings(page)
        for number, (start, end) in enumerate(self._spans(page), start=first_number):
            yield Chunk(
                key=f"c-{number}",
                text=page.text[start:end],
                page=page.number,
                start=start,
                end=end,
                heading=_heading_at(headings, start) or page.heading,
            )

    def _spans(self, page: Page) -> list[tuple[int, int]]:
        splitter = self._markdown if page.is_markdown else self._text
        spans: list[tuple[int, int]] = []
        for start, text in splitter.chunk_indices(page.text):
            end = start + len(text)
            if spans and len(text) < MIN_CHUNK:
                spans[-1] = (spans[-1][0], end)
            elif text.strip():
                spans.append((start, end))
        return spans


def _headings(page: Page) -> list[tuple[int, str]]:
    """Offset and text of each heading; a `#` in a block of code is none."""
    if not page.is_markdown:
        return []
    fences = [match.span() for match in FENCE.finditer(page.text)]
    return [
        (match.start(), match.group(1) or match.group(2))
        for match in HEADING.finditer(page.text)
        if not any(start <= match.start() < end for start, end in fences)
    ]


def _heading_at(headings: list[tuple[int, str]], offset: int) -> str:
    """The last heading that begins at `offset` or before."""
    index = bisect_right(headings, offset, key=lambda heading: heading[0])
    return headings[index - 1][1] if index else ""
