"""Converts text to sparse vectors with BM25, offline and without a model.

score(query, text) = sum over the query's words of
    IDF(word) * f * (K + 1) / (f + K * (1 - B + B * length / AVERAGE_LENGTH))

where f is the number of times the word occurs in the text. The vector holds the fraction; Qdrant
multiplies it by IDF. Formula, word ids and stop words are those of fastembed's `Qdrant/bm25`, so
either can query what the other has written. The versions of their stemmers differ: of 3,100 words
6 have another stem, such as `internal`.
"""

import re
from collections import Counter
from typing import Protocol

import mmh3
import snowballstemmer

from ingestion_progress.pipeline.stages import SparseVector

K = 1.2
B = 0.75
AVERAGE_LENGTH = 256.0
MAX_WORD_LENGTH = 40
NO_WORD = re.compile(r"[^\w]")
# English, as listed by NLTK and used by fastembed's BM25.
STOPWORDS = frozenset(
    """
    i me my myself we our ours ourselves you you're you've you'll you'd your yours yourself
    yourselves he him his himself she she's her hers herself it it's its itself they them their
    theirs themselves what which who whom this that that'll these those am is are was were be been
    being have has had having do does did doing a an the and but if or because as until while of at
    by for with about against between into through during before after above below to from up down
    in out on off over under again further then once here there when where why how all any both each
    few more most other some such no nor not only own same so than too very s t can will just don
    don't should should've now d ll m o re ve y ain aren aren't couldn couldn't didn didn't doesn
    doesn't hadn hadn't hasn hasn't haven haven't isn isn't ma mightn mightn't mustn mustn't needn
    needn't shan shan't shouldn shouldn't wasn wasn't weren weren't won won't wouldn wouldn't
    """.split()  # noqa: SIM905  (a list of 179 lines would be no easier to read)
)


class Embedder(Protocol):
    def embed(self, text: str) -> SparseVector:
        """The vector to store."""

    def embed_query(self, text: str) -> SparseVector:
        """The vector to search with; empty if the query has only stop words."""


class Bm25Embedder:
    """Not thread-safe: the stemmer has the current word as its state."""

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
            if word not in STOPWORDS and len(word) <= MAX_WORD_LENGTH and word != "_"
        )
        return [stem for stem in stems if stem]


def _word_id(word: str) -> int:
    return abs(mmh3.hash(word))
