"""Extracts entities (keyphrases) and relations (two entities in one sentence) from text."""

import re
from itertools import combinations
from typing import Protocol

import yake

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
    """YAKE's keyphrases are the entities. Not thread-safe."""

    def __init__(self) -> None:
        # Twice as many as are kept, because phrases that overlap are dropped.
        self._yake = yake.KeywordExtractor(
            lan="en", n=MAX_WORDS, dedup_lim=0.8, top=2 * MAX_ENTITIES_PER_CHUNK
        )

    def extract(self, text: str) -> Extraction:
        entities: dict[str, str] = {}
        for phrase, _score in self._yake.extract_keywords(text):
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
