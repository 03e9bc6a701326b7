"""Divides pages into chunks at headings, paragraphs and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Protocol

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from ingestion_progress.pipeline.stages import Chunk, Page
from ingestion_progress.pipeline.stages.outline import Outline

# Characters: one idea, and a search result that is quick to read.
CHUNK_SIZE = (600, 1000)
# A shorter piece is appended to the chunk before it.
MIN_CHUNK = 120
EXPECTED_CHUNK = 700
MAX_HEADING_LENGTH = 200
# The splitter takes quadratic time for a text without spaces: 13 s for 1 MB, 0.2 s for this much.
MAX_CUT_AT_ONCE = 100_000
# A longer text is divided at one of these first, the best first.
DIVISIONS = ("\n\n", "\n", " ")


class Chunker(Protocol):
    def chunks(self, page: Page, first_number: int) -> Iterator[Chunk]:
        """The chunks of a page in order, numbered from `first_number`."""

    def expected(self, page: Page, after: int = 0) -> int:
        """An estimate of the number of chunks that begin at this offset or later."""


class SemanticChunker:
    """Cuts at the largest unit that fits: section (in Markdown), paragraph, sentence or word."""

    @cached_property
    def _text(self) -> TextSplitter:
        return TextSplitter(CHUNK_SIZE)

    @cached_property
    def _markdown(self) -> MarkdownSplitter:
        return MarkdownSplitter(CHUNK_SIZE)

    def expected(self, page: Page, after: int = 0) -> int:
        # Called after every chunk, so the rest of a large text is not copied.
        left = len(page.text) - after if after else len(page.text.strip())
        return -(-left // EXPECTED_CHUNK)

    def chunks(self, page: Page, first_number: int) -> Iterator[Chunk]:
        outline = Outline(page, CHUNK_SIZE[1])
        for number, (start, end) in enumerate(self._spans(page, outline), start=first_number):
            yield Chunk(
                key=f"c-{number}",
                text=page.text[start:end],
                page=page.number,
                start=start,
                end=end,
                heading=(outline.heading_at(start) or page.heading)[:MAX_HEADING_LENGTH],
            )

    def _spans(self, page: Page, outline: Outline) -> Iterator[tuple[int, int]]:
        splitter = self._markdown if page.is_markdown else self._text
        for first, last in _parts(page.text):
            starts = [first + at for at, _ in splitter.chunk_indices(page.text[first:last])]
            starts = outline.with_whole_tables(starts, last)
            spans: list[tuple[int, int]] = []
            for start, following in pairwise([*starts, last]):
                text = page.text[start:following].rstrip()
                end = start + len(text)
                if spans and len(text) < MIN_CHUNK:
                    spans[-1] = (spans[-1][0], end)
                elif text:
                    spans.append((start, end))
            yield from spans


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each part that is cut at once: the whole text, unless it is very long."""
    start = 0
    while len(text) - start > MAX_CUT_AT_ONCE:
        limit = start + MAX_CUT_AT_ONCE
        found = (text.rfind(mark, start + MAX_CUT_AT_ONCE // 2, limit) for mark in DIVISIONS)
        end = next((at + 1 for at in found if at >= 0), limit)
        yield start, end
        start = end
    yield start, len(text)
