"""The places in a text that match a query, by the same words as the search."""

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from ingestion_progress.pipeline.stages.embedding import WITHOUT_SPACES, Embedder

# Letters and digits, with marks, soft hyphens and joiners inside.
WORD = re.compile(
    "[^\\W_](?:[^\\W_]|[\u0300-\u036f\u0900-\u0eff\u1000-\u109f\u1780-\u17ff]"
    "|[\u00ad\u200b-\u200f\u2060])*"
)
Span = tuple[int, int]


class Highlighter:
    """Highlights the words of one query in texts of some languages."""

    def __init__(self, query: str, embedder: Embedder, languages: Collection[str] = ("",)) -> None:
        wanted = frozenset(embedder.embed_query(query, languages).indices)

        @cache
        def matches(word: str, language: str) -> bool:
            return not wanted.isdisjoint(embedder.embed_query(word, [language]).indices)

        self._matches = matches

    def spans(self, text: str, language: str = "") -> list[Span]:
        """Start and end of each match in characters, in order; none touches another one."""
        merged: list[Span] = []
        matches = partial(self._matches, language=language)
        for start, end in _found(text, matches):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


def _found(text: str, matches: Callable[[str], bool]) -> Iterator[Span]:
    for word in WORD.finditer(text):
        start = word.start()
        pieces: list[Span] = []
        for clause in WITHOUT_SPACES.finditer(text, word.start(), word.end()):
            pieces += [(start, clause.start()), *_pairs(*clause.span())]
            start = clause.end()
        for first, last in [*pieces, (start, word.end())]:
            if first < last and matches(text[first:last]):
                yield first, last


def _pairs(start: int, end: int) -> Iterator[Span]:
    """The pairs of letters of a clause without spaces, by which its words are found."""
    for at in range(start, max(end - 1, start + 1)):
        yield at, min(at + 2, end)


def marked(text: str, spans: list[Span]) -> SafeString:
    """The text as HTML with its matches in `<mark>`."""
    parts, at = [], 0
    for start, end in spans:
        parts += [escape(text[at:start]), "<mark>", escape(text[start:end]), "</mark>"]
        at = end
    return mark_safe("".join([*parts, escape(text[at:])]))  # noqa: S308 (each part is escaped)
