"""Dense vectors of a model behind an API."""

from __future__ import annotations

import base64
import math
import re
from array import array
from collections.abc import Sequence
from typing import Any

from openai import OpenAI, OpenAIError

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import UnusableAnswer
from ingestion_progress.pipeline.openai.answers import key_of, store_answers, stored_answers
from ingestion_progress.pipeline.openai.chat import count_tokens
from ingestion_progress.pipeline.openai.endpoint import endpoint

STAGE = "embedding"
PROBE = ("yes",)
# What stores accept in the name of a vector.
OTHER_LETTERS = re.compile(r"[^\w.-]+")


class OpenAIEmbedder:
    """A DenseEmbedder. The model is OPENAI_EMBEDDING_MODEL."""

    @property
    def name(self) -> str:
        size = f"-{conf.openai_embedding_dimensions}" if conf.openai_embedding_dimensions else ""
        return OTHER_LETTERS.sub("-", conf.openai_embedding_model) + size

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Asks only for texts that have no stored answer, in one question. Raises UnusableAnswer,
        or as `Endpoint.ask` does.
        """
        question = _question()
        keys = [key_of(question | {"input": text}) for text in texts]
        stored = {key: _decoded(each) for key, each in stored_answers(keys).items()}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in stored}
        if missing:
            vectors = _asked(question, list(missing.values()))
            made = dict(zip(missing, vectors, strict=True))
            store_answers({key: _encoded(vector) for key, vector in made.items()})
            stored |= made
        return [stored[key] for key in keys]

    def embed_query(self, text: str) -> Sequence[float]:
        """The same within seconds, since somebody waits for it."""
        return _asked(_question(), [text], is_urgent=True)[0]


def _question() -> dict[str, Any]:
    question: dict[str, Any] = {"model": conf.openai_embedding_model, "encoding_format": "float"}
    if conf.openai_embedding_dimensions:
        question["dimensions"] = conf.openai_embedding_dimensions
    return question


def _asked(
    question: dict[str, Any], texts: Sequence[str], *, is_urgent: bool = False
) -> list[list[float]]:
    # Without halves of surrogate pairs; servers refuse an empty text.
    sent = [text.encode("utf-8", "replace").decode() or " " for text in texts]

    def send(client: OpenAI) -> Any:
        return client.embeddings.with_raw_response.create(input=sent, **question)

    def probe(client: OpenAI) -> Any:
        return client.embeddings.create(input=list(PROBE), **question)

    response = endpoint().ask(send, probe, stage=STAGE, is_urgent=is_urgent)
    count_tokens(response.text)
    return _vectors(response, len(texts))


def _vectors(response: Any, count: int) -> list[list[float]]:
    """The vectors in the order of the texts. Raises UnusableAnswer."""
    try:
        rows = sorted(response.parse().data, key=lambda row: row.index)
        vectors = [[float(value) for value in row.embedding] for row in rows]
        places = [row.index for row in rows]
    except (OpenAIError, ValueError, LookupError, TypeError, AttributeError):
        raise UnusableAnswer(StoredSentence("The answer of the model has no vectors.")) from None
    if places != list(range(count)) or len({len(vector) for vector in vectors}) != 1:
        raise UnusableAnswer(
            StoredSentence("The answer of the model has not one vector for each text.")
        )
    if not vectors[0] or not all(math.isfinite(value) for each in vectors for value in each):
        raise UnusableAnswer(
            StoredSentence("The answer of the model has vectors with values that are no numbers.")
        )
    return vectors


def _encoded(vector: Sequence[float]) -> str:
    """With 4 bytes for each number, as the stores keep it."""
    return base64.b64encode(array("f", vector).tobytes()).decode()


def _decoded(text: str) -> list[float]:
    return array("f", base64.b64decode(text)).tolist()
