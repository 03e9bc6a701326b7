"""Extracts entities (keyphrases) and relations (two entities in one sentence) from text."""

import re
from itertools import combinations
from typing import Protocol

from sentencex import segment

from ingestion_progress.pipeline.models import MAX_KEY_LENGTH
from ingestion_progress.pipeline.stages import Extraction
from ingestion_progress.pipeline.stages.embedding import UNKNOWN, WITHOUT_SPACES
from ingestion_progress.pipeline.stages.keyphrases import Keyphrases

MAX_ENTITIES_PER_CHUNK = 8
# The shortest name, in bytes of UTF-8: three Latin letters, or one Chinese one.
MIN_BYTES = 3
SPACE = re.compile(r"\s+")
LETTER = re.compile(r"[^\W\d_]")


class Extractor(Protocol):
    def extract(self, text: str, language: str = "") -> Extraction:
        """`language`: a code of ISO 639; empty if unknown."""


class KeyphraseExtractor:
    """Keyphrases are the entities."""

    def __init__(self) -> None:
        self._keyphrases = Keyphrases()

    def extract(self, text: str, language: str = "") -> Extraction:
        text = text.encode("utf-8", "replace").decode()  # no lone surrogates
        entities: dict[str, str] = {}
        # Twice as many as are kept, because phrases that overlap are dropped.
        for phrase in self._keyphrases.best(text, 2 * MAX_ENTITIES_PER_CHUNK, language):
            key = entity_key(phrase)
            if _is_relevant(key) and not any(_overlaps(key, other) for other in entities):
                entities[key] = SPACE.sub(" ", phrase).strip()
            if len(entities) == MAX_ENTITIES_PER_CHUNK:
                break
        return Extraction(entities, _relations(text, list(entities), language or UNKNOWN))


def entity_key(name: str) -> str:
    """The same key for all spellings of a name that differ in case or spaces."""
    return SPACE.sub(" ", name).strip().casefold()


def _is_relevant(key: str) -> bool:
    letters = "".join(LETTER.findall(key)).encode("utf-8", "replace")
    return len(letters) >= MIN_BYTES and len(key) <= MAX_KEY_LENGTH


def _overlaps(key: str, other: str) -> bool:
    """Has one the words of the other? Without spaces, has it all its letters?"""
    if WITHOUT_SPACES.search(key) and WITHOUT_SPACES.search(other):
        return key in other or other in key
    return f" {key} " in f" {other} " or f" {other} " in f" {key} "


def _relations(text: str, keys: list[str], language: str) -> tuple[tuple[str, str], ...]:
    """Sentences end at the marks of the language, but not after its abbreviations."""
    pairs: dict[tuple[str, str], None] = {}
    for sentence in segment(language, text):
        words = entity_key(sentence)
        present = sorted(key for key in keys if key in words)
        pairs.update(dict.fromkeys(combinations(present, 2)))
    return tuple(pairs)
