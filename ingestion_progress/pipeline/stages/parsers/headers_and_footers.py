"""Recognises headers, footers and page numbers, which would stand in the middle of sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping

REACH = 2
"""How many pages before and after a page are compared with it."""
EDGE = 3
"""How many lines at the top and at the bottom of a page may be left out."""
MIN_SIMILAR = 2
NUMBER = re.compile(r"\d+")
LETTER = re.compile(r"[^\W\d_]")


def without_headers_and_footers(texts: Mapping[int, str], index: int) -> str:
    """The text of the page at `index` without the lines that pages near it have as well.

    A line is left out if two of them have it at the same edge, with the same numbers, or with
    numbers that count the pages. The first page that has it keeps it, because slides that appear
    bit by bit repeat their text too. A page number is left out everywhere.
    """
    lines = texts[index].split("\n")
    top, bottom = 0, len(lines)
    while top < min(EDGE, bottom) and _is_repeated(lines[top], texts, index, slice(None, EDGE)):
        top += 1
    while bottom > max(top, len(lines) - EDGE) and _is_repeated(
        lines[bottom - 1], texts, index, slice(-EDGE, None)
    ):
        bottom -= 1
    return "\n".join(lines[top:bottom])


def _is_repeated(line: str, texts: Mapping[int, str], index: int, edge: slice) -> bool:
    if not line.strip():
        return True
    similar = [
        at
        for at, text in texts.items()
        if at != index
        and any(_is_similar(line, other, at - index) for other in text.split("\n")[edge])
    ]
    is_first = min(similar, default=index) >= index
    return len(similar) >= MIN_SIMILAR and not (is_first and LETTER.search(line))


def _is_similar(line: str, other: str, distance: int) -> bool:
    if NUMBER.sub("0", line) != NUMBER.sub("0", other):
        return False
    pairs = zip(NUMBER.findall(line), NUMBER.findall(other), strict=True)
    return all(int(theirs) - int(ours) in (0, distance) for ours, theirs in pairs)
