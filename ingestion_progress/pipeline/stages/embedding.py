"""Text to sparse vectors: BM25, offline and without a model.

score(query, text) = sum over the query's words of
    IDF(word) * f * (K + 1) / (f + K * (1 - B + B * length / AVERAGE_LENGTH))

where f is how often the word stands in the text. The vector holds the fraction; Qdrant knows
how rare a word is and multiplies by IDF. Formula, word ids and word list are those of fastembed's
`Qdrant/bm25`, so that either may query what the other has written. Their stemmers are of different
age: of 3,100 words they differ in 6, such as `internal`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import mmh3
import snowballstemmer

from ingestion_progress.pipeline.stages.stopwords import ENGLISH

K = 1.2
B = 0.75
AVERAGE_LENGTH = 256.0
MAX_WORD_LENGTH = 40
NO_WORD = re.compile(r"[^\w]")


@dataclass(frozen=True)
class SparseVector:
    """`values[n]` is the weight of the word whose id is `indices[n]`."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


class Embedder(Protocol):
    def embed(self, text: str) -> SparseVector:
        """The vector that is stored."""
        ...

    def embed_query(self, text: str) -> SparseVector:
        """The vector to search with; empty where no word of the query counts."""
        ...


class Bm25Embedder:
    """Not thread-safe: the stemmer keeps the word it works on."""

    def __init__(self) -> None:
        self._stemmer = snowballstemmer.stemmer("english")

    def embed(self, text: str) -> SparseVector:
        words = self._words(text)
        length = K * (1 - B + B * len(words) / AVERAGE_LENGTH)
        # Two words may share an id; the later one wins, as in fastembed.
        weights = {
            _word_id(word): count * (K + 1) / (count + length)
            for word, count in Counter(words).items()
        }
        return SparseVector(tuple(weights), tuple(weights.values()))

    def embed_query(self, text: str) -> SparseVector:
        ids = sorted({_word_id(word) for word in self._words(text)})
        return SparseVector(tuple(ids), (1.0,) * len(ids))

    def _words(self, text: str) -> list[str]:
        words = NO_WORD.sub(" ", text.lower()).split()
        stems = (
            self._stemmer.stemWord(word)
            for word in words
            if word not in ENGLISH and len(word) <= MAX_WORD_LENGTH and word != "_"
        )
        return [stem for stem in stems if stem]


def _word_id(word: str) -> int:
    return abs(mmh3.hash(word))
