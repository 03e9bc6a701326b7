"""Dense embedders whose models run in this process, offline. Thread-safe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingestion_progress.pipeline.conf import conf


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
        # The vector of a text without words has the length 0, and cannot be normalized.
        found: Sequence[Sequence[float]] = self._model.embed(
            [_encodable(text) for text in texts], norm=False
        )
        return found

    def embed_query(self, text: str) -> Sequence[float]:
        return self.embed([text])[0]


class FastEmbedEmbedder:
    """The model FASTEMBED_MODEL of fastembed, in the folder FASTEMBED_PATH.

    Needs the extra `fastembed`. Nothing is downloaded. Raises ImportError, or ValueError without
    the folder.
    """

    def __init__(self) -> None:
        from fastembed import TextEmbedding

        if not conf.fastembed_path:
            raise ValueError("FASTEMBED_PATH is not set: the folder of a model of fastembed.")
        self.name = f"fastembed-{conf.fastembed_model}"
        self._model: Any = TextEmbedding(
            conf.fastembed_model,
            # Without this folder fastembed would download the model.
            specific_model_path=conf.fastembed_path,
            local_files_only=True,
        )

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return list(self._model.passage_embed([_encodable(text) for text in texts]))

    def embed_query(self, text: str) -> Sequence[float]:
        found: Sequence[float] = next(iter(self._model.query_embed(_encodable(text))))
        return found


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, which tokenizers refuse."""
    return text.encode("utf-8", "replace").decode()
