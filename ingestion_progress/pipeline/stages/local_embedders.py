"""Dense embedders whose models run in this process, offline. Thread-safe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class WordLlamaEmbedder:
    """The model in the package wordllama: 256 dimensions, mostly English.

    Needs the extra `wordllama`; raises ImportError without it.
    """

    name = "wordllama-l2-supercat-256"

    def __init__(self) -> None:
        import wordllama

        # Its weights and its tokenizer are in the package, but it looks for the tokenizer
        # elsewhere, and would download it.
        folder = Path(wordllama.__file__).parent
        self._model: Any = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        # Their lengths stay, because that of a text without words is 0.
        found: Sequence[Sequence[float]] = self._model.embed(
            [_encodable(text) for text in texts], norm=False
        )
        return found

    def embed_query(self, text: str) -> Sequence[float]:
        return self.embed([text])[0]


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, which tokenizers refuse."""
    return text.encode("utf-8", "replace").decode()
