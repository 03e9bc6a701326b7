"""The places in a text that match a query, by the same words as the search."""

import re
from collections.abc import Iterator
from functools import cache

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from ingestion_progress.pipeline.stages.embedding import WITHOUT_SPACES, Embedder

# Letters and digits, with marks, soft hyphens and joiners inside.
WORD = re.compile("[^\\W_](?:[^\\W_]|[\u0300-\u036f\u0900-\u0dff\u00ad\u200b-\u200f\u2060])*")
Span = tuple[int, int]


class Highlighter:
    """Of one query."""

    def __init__(self, query: str, embedder: Embedder) -> None:
        wanted = frozenset(embedder.embed_query(query).indices)

        @cache
        def matches(word: str) -> bool:
            return not wanted.isdisjoint(embedder.embed_query(word).indices)

        self._matches = matches

    def spans(self, text: str) -> list[Span]:
        """Start and end of each match in characters, in order; none touches another one."""
        merged: list[Span] = []
        for start, end in self._found(text):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _found(self, text: str) -> Iterator[Span]:
        for word in WORD.finditer(text):
            start = word.start()
            for clause in WITHOUT_SPACES.finditer(text, word.start(), word.end()):
                yield from self._word(text, start, clause.start())
                yield from self._clause(text, *clause.span())
                start = clause.end()
            yield from self._word(text, start, word.end())

    def _word(self, text: str, start: int, end: int) -> Iterator[Span]:
        if start < end and self._matches(text[start:end]):
            yield start, end

    def _clause(self, text: str, start: int, end: int) -> Iterator[Span]:
        """Its words are looked for as pairs of letters."""
        for at in range(start, max(end - 1, start + 1)):
            yield from self._word(text, at, min(at + 2, end))


def marked(text: str, spans: list[Span]) -> SafeString:
    """The text as HTML with its matches in `<mark>`."""
    parts, at = [], 0
    for start, end in spans:
        parts += [escape(text[at:start]), "<mark>", escape(text[start:end]), "</mark>"]
        at = end
    return mark_safe("".join([*parts, escape(text[at:])]))  # noqa: S308 (each part is escaped)
