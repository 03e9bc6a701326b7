"""Finds the headings and the tables in the text of a page."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from itertools import pairwise

from markdown_it import MarkdownIt

from ingestion_progress.pipeline.stages import Page

LINE_END = re.compile("\r\n?|\n")
SPACE = re.compile(r"\s+")
# Between lines of three marks at the beginning of the file: metadata, in YAML or TOML.
FRONT_MATTER = re.compile(
    r"(?:---[ \t]*\n(?=[^\s#]).*?^(?:---|\.\.\.)|\+\+\+[ \t]*\n.*?^\+\+\+)[ \t]*(?:\n|\Z)",
    re.MULTILINE | re.DOTALL,
)


class Outline:
    """Where the headings and the tables of a page begin, if it is Markdown."""

    def __init__(self, page: Page, max_table: int) -> None:
        self.headings: list[tuple[int, str]] = []
        """Offsets and texts, without those in lists and quotations."""
        self._tables: list[tuple[int, int]] = []
        """Start and end of those of at most `max_table` characters."""
        if page.is_markdown:
            self._read(page.text, max_table)

    def _read(self, text: str, max_table: int) -> None:
        front_matter = FRONT_MATTER.match(text)
        start = front_matter.end() if front_matter else 0
        lines = [start, *(match.end() for match in LINE_END.finditer(text, start)), len(text)]
        tokens = MarkdownIt("commonmark").enable("table").parse(text[start:])
        for token, following in pairwise(tokens):
            if token.level or not token.map:
                continue
            first, last = (lines[number] for number in token.map)
            if token.type == "heading_open":
                self.headings.append((first, SPACE.sub(" ", following.content)))
            elif token.type == "table_open" and last - first <= max_table:
                self._tables.append((first, last))

    def heading_at(self, offset: int) -> str:
        """The last heading that begins at `offset` or before."""
        index = bisect_right(self.headings, offset, key=lambda heading: heading[0])
        return self.headings[index - 1][1] if index else ""

    def with_whole_tables(self, starts: list[int], end: int) -> list[int]:
        """The starts of chunks of a text that ends at `end`, none of them within a table."""
        found = set(starts)
        for first, last in self._tables:
            inner = starts[bisect_right(starts, first) : bisect_left(starts, last)]
            if inner and first >= starts[0] and last <= end:
                found = (found - set(inner)) | {first, last}
        return sorted(found)
