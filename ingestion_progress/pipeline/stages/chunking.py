"""Divides pages into chunks at headings, paragraphs and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Protocol

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.stages import Chunk, Page
from ingestion_progress.pipeline.stages.outline import Outline

# Shares of the longest chunk: a chunk is complete with LEAST, has EXPECTED on average, and a piece
# that is shorter than PIECE is appended to the chunk before it.
LEAST, EXPECTED, PIECE = 0.6, 0.7, 0.12
MIN_CHARACTERS = 100
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

    def __init__(self) -> None:
        most = max(MIN_CHARACTERS, conf.chunk_characters)
        self._size = (int(most * LEAST), most)
        self._expected, self._piece = int(most * EXPECTED), int(most * PIECE)
        self._overlap = min(max(0, conf.chunk_overlap_characters), most // 2)

    @cached_property
    def _text(self) -> TextSplitter:
        return TextSplitter(self._size)

    @cached_property
    def _markdown(self) -> MarkdownSplitter:
        return MarkdownSplitter(self._size)

    def expected(self, page: Page, after: int = 0) -> int:
        # Called after every chunk, so the rest of a large text is not copied.
        left = len(page.text) - after if after else len(page.text.strip())
        return -(-left // self._expected)

    def chunks(self, page: Page, first_number: int) -> Iterator[Chunk]:
        outline = Outline(page, self._size[1])
        before = 0
        for number, (start, end) in enumerate(self._spans(page, outline), start=first_number):
            first = self._with_overlap(page.text, before, start)
            yield Chunk(
                key=f"c-{number}",
                text=page.text[first:end],
                page=page.number,
                start=first,
                end=end,
                heading=(outline.heading_at(start) or page.heading)[:MAX_HEADING_LENGTH],
            )
            before = end

    def _with_overlap(self, text: str, before: int, start: int) -> int:
        """Where a chunk begins that repeats whole words of the chunk that ends at `before`."""
        if not (self._overlap and before):
            return start
        words = text[max(0, before - self._overlap) : start]
        _, space, repeated = words.partition(" ")
        return start - len(repeated) if space else start

    def _spans(self, page: Page, outline: Outline) -> Iterator[tuple[int, int]]:
        splitter = self._markdown if page.is_markdown else self._text
        for first, last in _parts(page.text):
            starts = [first + at for at, _ in splitter.chunk_indices(page.text[first:last])]
            starts = outline.with_whole_tables(starts, last)
            spans: list[tuple[int, int]] = []
            for start, following in pairwise([*starts, last]):
                text = page.text[start:following].rstrip()
                end = start + len(text)
                if spans and len(text) < self._piece:
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
