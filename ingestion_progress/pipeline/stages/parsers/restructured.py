"""Parses reStructuredText: titles become those of Markdown, and the rest stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.text import read_text

MARK_LINE = re.compile(r"([!-/:-@\[-`{-~])\1+\s*")
# `.. words` that are neither a directive, a target, a note nor a substitution.
COMMENT = re.compile(r"\.\. (?!\S+::|_|\[|\|)|\.\.\s*$")
CODE = re.compile(r"\.\. (?:code|code-block|sourcecode|literalinclude|parsed-literal)::")
LIKE_HEADING = re.compile(r"^ {0,3}(?=#{1,6}\s)")


class RestructuredParser:
    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name)
        text = "\n".join(_Converter(source.text.expandtabs(8).split("\n")).lines()).strip()
        if not text:
            raise EmptyDocument(
                StoredSentence("“%(name)s” has no text that a reader would see.", name=name)
            )
        return [Page(number=None, text=text, is_markdown=True, warnings=source.warnings)]


class _Converter:
    def __init__(self, lines: list[str]) -> None:
        self._lines = [*lines, "", ""]
        self._at = 0
        self._levels: list[str] = []
        """The marks of titles in the order in which they are first used."""

    def lines(self) -> Iterator[str]:
        while self._at < len(self._lines) - 2:
            line = self._lines[self._at]
            if title := self._title():
                yield title
            elif COMMENT.match(line):
                self._at += 1
                list(self._indented())
            elif CODE.match(line.lstrip()):
                self._at += 1
                yield from _fenced(list(self._indented()))
            elif line.rstrip().endswith("::") and not line.lstrip().startswith(".."):
                self._at += 1
                yield line.rstrip().removesuffix(":")
                yield from _fenced(list(self._indented()))
            else:
                self._at += 1
                yield LIKE_HEADING.sub(r"\\", line)

    def _title(self) -> str:
        """Empty if no title begins here."""
        first, second, third = (each.rstrip() for each in self._lines[self._at : self._at + 3])
        has_overline = bool(
            MARK_LINE.fullmatch(first) and second.strip() and third == first and len(first) > 1
        )
        text, mark = (second, third) if has_overline else (first, second)
        is_title = text.strip() and MARK_LINE.fullmatch(mark) and not MARK_LINE.fullmatch(text)
        is_long_enough = len(mark) >= min(len(text.strip()), 4)
        if not is_title or not is_long_enough or (text[0] == " " and not has_overline):
            return ""
        self._at += 3 if has_overline else 2
        style = mark[0] * (1 + has_overline)
        if style not in self._levels:
            self._levels.append(style)
        level = min(self._levels.index(style) + 1, 6)
        return f"{'#' * level} {text.strip()}"

    def _indented(self) -> Iterator[str]:
        """The block that begins here, without the blank lines after it."""
        blank = 0
        while self._at + blank < len(self._lines):
            line = self._lines[self._at + blank]
            if not line.strip():
                blank += 1
            elif line[0] == " ":
                yield from [""] * blank
                yield line
                self._at += blank + 1
                blank = 0
            else:
                return


def _fenced(lines: list[str]) -> list[str]:
    while lines and not lines[0].strip():
        lines.pop(0)
    if not lines:
        return []
    fence = "```"
    while any(fence in line for line in lines):
        fence += "`"
    return ["", fence, *lines, fence, ""]
