"""Finds the phrases that say what a text is about, in the language of the text."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from yake_rust import Yake

from ingestion_progress.pipeline.stages.embedding import UNKNOWN, WITHOUT_SPACES

MAX_WORDS = 3
# YAKE's codes of languages whose stop words it has, where they are not those of ISO 639.
OTHER_CODES = {"cs": "cz"}
WITH_STOP_WORDS = frozenset(
    ["ar", "bg", "br", "cz", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "hi", "hr", "hu"]
).union(
    ["hy", "id", "it", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "tr", "uk"]
)
NO_SPACES = frozenset(["ja", "km", "lo", "my", "th", "zh"])
# Most Japanese nouns are written in Chinese characters or katakana.
JAPANESE_NOUN = re.compile("(?:[\u3005\u3400-\u9fff]|[\u30a1-\u30ff]{2,})+")
LATIN_WORD = re.compile(r"[A-Za-z][\w.+-]*\w")
# The length of a phrase in a language without spaces, in letters and their marks.
SHORTEST = {"ja": 2, "zh": 2}
SHORTEST_OF_OTHERS, LONGEST = 4, 8


class Keyphrases:
    """Finds the keyphrases of texts. Not thread-safe."""

    def __init__(self) -> None:
        self._yake: dict[str, Yake] = {}

    def best(self, text: str, number: int, language: str) -> Iterator[str]:
        """At most `number` keyphrases, the best first. Some overlap."""
        language = language or UNKNOWN
        if language in NO_SPACES:
            yield from _without_spaces(text, number, language)
        else:
            for phrase, _score in self._of(language).get_n_best(text, n=number):
                yield phrase

    def _of(self, language: str) -> Yake:
        """YAKE's keyphrases. Without stop words of the language, they are less exact."""
        code = OTHER_CODES.get(language, language)
        code = code if code in WITH_STOP_WORDS else ""
        if code not in self._yake:
            words = {"language": code} if code else {"stopwords": set[str]()}
            self._yake[code] = Yake(ngrams=MAX_WORDS, deduplication_threshold=0.8, **words)
        return self._yake[code]


def _without_spaces(text: str, number: int, language: str) -> list[str]:
    """The longest and most frequent ones first."""
    phrases = Counter(LATIN_WORD.findall(text))
    shortest = SHORTEST.get(language, SHORTEST_OF_OTHERS)
    if language == "ja":
        found = JAPANESE_NOUN.findall(text)
        phrases.update(phrase for phrase in found if len(phrase) >= shortest)
    else:
        phrases.update(_repeated(text, shortest))
    weights = {phrase: count * min(len(phrase), LONGEST) for phrase, count in phrases.items()}
    return sorted(weights, key=weights.__getitem__, reverse=True)[:number]


def _repeated(text: str, shortest: int) -> dict[str, int]:
    """What occurs more than once, without parts of a longer phrase that occur only in it."""
    counts = Counter[str]()
    for clause in WITHOUT_SPACES.findall(text):
        # A mark belongs to the letter before it.
        starts = [at for at, letter in enumerate(clause) if unicodedata.category(letter) != "Mn"]
        ends = {*starts, len(clause)}
        counts.update(
            clause[start:end]
            for start in starts
            for end in range(start + shortest, start + LONGEST + 1)
            if end in ends
        )
    repeated = {phrase: count for phrase, count in counts.items() if count > 1}
    for phrase, count in list(repeated.items()):
        for part in (phrase[1:], phrase[:-1]):
            if repeated.get(part) == count:
                del repeated[part]
    return repeated
