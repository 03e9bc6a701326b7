"""Extracts entities (keyphrases) and relations (two entities in one sentence) from text."""

import re
from itertools import combinations
from typing import Protocol

from yake_rust import Yake

from ingestion_progress.pipeline.models import MAX_KEY_LENGTH
from ingestion_progress.pipeline.stages import Extraction

MAX_WORDS = 3
MAX_ENTITIES_PER_CHUNK = 8
MIN_LENGTH = 3
SPACE = re.compile(r"\s+")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n{2,}")
LETTER = re.compile(r"[^\W\d_]")


class Extractor(Protocol):
    def extract(self, text: str) -> Extraction: ...


class KeyphraseExtractor:
    """YAKE's keyphrases are the entities."""

    def __init__(self) -> None:
        self._yake = Yake(language="en", ngrams=MAX_WORDS, deduplication_threshold=0.8)

    def extract(self, text: str) -> Extraction:
        entities: dict[str, str] = {}
        # Twice as many as are kept, because phrases that overlap are dropped.
        for phrase, _score in self._yake.get_n_best(text, n=2 * MAX_ENTITIES_PER_CHUNK):
            key = entity_key(phrase)
            if _is_relevant(key) and not any(_overlaps(key, other) for other in entities):
                entities[key] = SPACE.sub(" ", phrase).strip()
            if len(entities) == MAX_ENTITIES_PER_CHUNK:
                break
        return Extraction(entities, _relations(text, list(entities)))


def entity_key(name: str) -> str:
    """The same key for all spellings of a name that differ in case or spaces."""
    return SPACE.sub(" ", name).strip().casefold()


def _is_relevant(key: str) -> bool:
    return MIN_LENGTH <= len(key) <= MAX_KEY_LENGTH and len(LETTER.findall(key)) >= MIN_LENGTH


def _overlaps(key: str, other: str) -> bool:
    return f" {key} " in f" {other} " or f" {other} " in f" {key} "


def _relations(text: str, keys: list[str]) -> tuple[tuple[str, str], ...]:
    pairs: dict[tuple[str, str], None] = {}
    for sentence in SENTENCE_END.split(text):
        words = entity_key(sentence)
        present = sorted(key for key in keys if key in words)
        pairs.update(dict.fromkeys(combinations(present, 2)))
    return tuple(pairs)
