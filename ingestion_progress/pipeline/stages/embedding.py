"""Converts text to sparse vectors with BM25, offline and without a model.

score(query, text) = sum over the query's words of
    IDF(word) * f * (K + 1) / (f + K * (1 - B + B * length / AVERAGE_LENGTH))

where f is the number of times the word occurs in the text. The vector holds the fraction, which
Qdrant Edge computes; Qdrant multiplies it by IDF. Word ids are those of a Qdrant server's own BM25
and of fastembed's `Qdrant/bm25`, so each can query what another has written.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Protocol

from qdrant_edge import Bm25, Bm25Config, TokenizerType

from ingestion_progress.pipeline.stages import SparseVector

# Soft hyphens, joiners, marks of direction, and the dot that remains of a small "İ".
UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff\u0307]")
# Thai, Lao, Burmese, Khmer, kana, Chinese characters and Hangul: no spaces between words, or
# particles that are written together with them.
WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    "\U00020000-\U0003ffff]+"
)


class Embedder(Protocol):
    def embed(self, text: str) -> SparseVector:
        """The vector to store."""

    def embed_query(self, text: str) -> SparseVector:
        """The vector to search with; empty if the query has only stop words."""


class Bm25Embedder:
    """Stop words and stems are English. Thread-safe."""

    def __init__(self) -> None:
        self._bm25 = Bm25(Bm25Config(tokenizer=TokenizerType.Word, language="english"))

    def embed(self, text: str) -> SparseVector:
        vector = self._bm25.embed_document(WITHOUT_SPACES.sub(_all_pieces, plain(text)))
        return SparseVector(tuple(vector.indices), tuple(vector.values))

    def embed_query(self, text: str) -> SparseVector:
        vector = self._bm25.embed_query(WITHOUT_SPACES.sub(_pairs, plain(text)))
        return SparseVector(tuple(vector.indices), tuple(vector.values))


def plain(text: str) -> str:
    """One spelling: composed, without ligatures, full width, soft hyphens and capitals."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return UNSEEN.sub("", text).encode("utf-8", "replace").decode()  # no lone surrogates


def _pairs(clause: re.Match[str]) -> str:
    """A word of two letters is a pair, and a longer one is several."""
    letters = clause[0]
    pairs = [letters[at : at + 2] for at in range(len(letters) - 1)] or [letters]
    return f" {' '.join(pairs)} "


def _all_pieces(clause: re.Match[str]) -> str:
    """Also the single letters, which may be words."""
    return f" {' '.join(clause[0])}{_pairs(clause)}" if len(clause[0]) > 1 else _pairs(clause)
