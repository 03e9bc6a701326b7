"""Converts text to sparse vectors with BM25, offline and without a model.

score(query, text) = sum over the query's words of
    IDF(word) * f * (K + 1) / (f + K * (1 - B + B * length / AVERAGE_LENGTH))

where f is the number of times the word occurs in the text. The vector holds the fraction, which
Qdrant Edge computes; Qdrant multiplies it by IDF. Stems and stop words are those of the text's
language. Word ids are those of a Qdrant server's own BM25 and of fastembed's `Qdrant/bm25`, so each
can query what another has written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import cache
from typing import Protocol

from qdrant_edge import (
    Bm25,
    Bm25Config,
    DisabledStemmer,
    StopwordsSet,
    TokenizerType,
)

from ingestion_progress.pipeline.stages import SparseVector
from ingestion_progress.pipeline.stages.languages import detected

# Soft hyphens, joiners, marks of direction, and the dot that remains of a small "İ".
UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff\u0307]")
# Thai, Lao, Burmese, Khmer, kana, Chinese characters and Hangul: no spaces between words, or
# particles that are written together with them.
WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    "\U00020000-\U0003ffff]+"
)
# Languages with stop words, most of them also with a stemmer. Those of Chinese and Japanese would
# remove pairs of letters of other words.
NAMES = {
    "ar": "arabic",
    "az": "azerbaijani",
    "bn": "bengali",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "he": "hebrew",
    "hu": "hungarian",
    "id": "indonesian",
    "it": "italian",
    "kk": "kazakh",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sl": "slovene",
    "sv": "swedish",
    "tg": "tajik",
    "tr": "turkish",
}
# The analysis of a text whose language is unknown.
UNKNOWN = "en"
# The weight of a query's words as analysed in another language than that of the query.
OTHER_WEIGHT = 0.5


class Embedder(Protocol):
    def embed(self, text: str, language: str = "") -> SparseVector:
        """The vector to store. `language`: a code of ISO 639; empty if unknown."""

    def embed_query(self, text: str, languages: Collection[str] = ("",)) -> SparseVector:
        """The vector to search with; empty if the query has only stop words.

        `languages`: those of the texts that are to be found, of which the query's may be one.
        """


class Bm25Embedder:
    """Stop words and stems are those of each text's language. Thread-safe."""

    def embed(self, text: str, language: str = "") -> SparseVector:
        pieces = WITHOUT_SPACES.sub(_all_pieces, plain(text))
        vector = _bm25(_analysis(language)).embed_document(pieces)
        return SparseVector(tuple(vector.indices), tuple(vector.values))

    def embed_query(self, text: str, languages: Collection[str] = ("",)) -> SparseVector:
        pairs = WITHOUT_SPACES.sub(_pairs, plain(text))
        analyses = sorted(set(map(_analysis, languages)))
        if len(analyses) > 1 and (own := _analysis(detected(text)[0] or UNKNOWN)) in analyses:
            analyses = [own, *(each for each in analyses if each != own)]
            weight = OTHER_WEIGHT
        else:
            weight = 1.0
        weights: dict[int, float] = {}
        for place, analysis in enumerate(analyses):
            for index in _bm25(analysis).embed_query(pairs).indices:
                weights.setdefault(index, weight if place else 1.0)
        return SparseVector(tuple(weights), tuple(weights.values()))


def _analysis(language: str) -> str:
    """Languages without stop words and stems share one: the empty string."""
    language = language or UNKNOWN
    return language if language in NAMES else ""


@cache
def _bm25(analysis: str) -> Bm25:
    if analysis in NAMES:
        return Bm25(Bm25Config(tokenizer=TokenizerType.Word, language=NAMES[analysis]))
    return Bm25(
        Bm25Config(
            tokenizer=TokenizerType.Word, stopwords=StopwordsSet(), stemmer=DisabledStemmer()
        )
    )


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
    """The pieces and the single letters, which may be words."""
    return f" {' '.join(clause[0])}{_pairs(clause)}" if len(clause[0]) > 1 else _pairs(clause)
