"""Writes and searches of the embedded store: `python -m benchmarks.search [CHUNKS …]`.

Beside it the former store, qdrant-client's local mode, opened for each call as it was. Chunks have
some 60 words of a vocabulary in which few words are frequent (Zipf), and queries have three. All
processes are real: one to four search while none or one writes. JSON goes to
`var/bench/results/`.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count, islice
from pathlib import Path
from typing import Any

import django

from benchmarks.processes import ROOT

SIZES = (500, 20_000, 100_000)
BATCH = 64
WORDS = 60
VOCABULARY = 50_000
MEASURED_SECONDS = 10.0
# The former store takes seconds for each, and with more chunks most of a minute.
FORMER_CALLS = 6
FORMER_MAX_CHUNKS = 20_000

Vector = tuple[list[int], list[float]]


def set_up(folder: Path) -> None:
    """Django with the embedded store in this folder."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "progress_project.settings",
        "ENV_FILE": str(folder / "no.env"),
        "VAR_DIR": str(folder),
    }
    django.setup()


def vectors(seed: int, words: int) -> Iterator[Vector]:
    chance = random.Random(seed)
    ids = list(range(VOCABULARY))
    weights = [1 / (rank + 3) for rank in ids]
    sums = list(_running_sums(weights))
    while True:
        found = sorted(set(chance.choices(ids, cum_weights=sums, k=words)))
        # Frequent words are not next to each other, as hashes of words are not.
        yield [each * 40_503 % 2**31 for each in found], [1.0 + chance.random() for _ in found]


def _running_sums(values: Sequence[float]) -> Iterator[float]:
    total = 0.0
    for each in values:
        yield (total := total + each)


def points(document: str, batch: Sequence[Vector], first: int) -> list[tuple[Any, ...]]:
    from ingestion_progress.pipeline.stores.chunk_id import point_id

    return [
        (
            point_id(document, "e", f"c-{number}"),
            *vector,
            {
                "document_id": document,
                "document_name": "document.txt",
                "epoch": "e",
                "chunk": f"c-{number}",
                "page": 1,
                "start": 0,
                "end": 600,
                "heading": "A heading",
                "text": "some words " * 55,
            },
        )
        for number, vector in enumerate(batch, start=first)
    ]


def as_embeddings(batch: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    from ingestion_progress.pipeline.stages import Embedding, SparseVector

    return [
        (key, Embedding(SparseVector(tuple(indices), tuple(values))), payload)
        for key, indices, values, payload in batch
    ]


def batches(chunks: int, seed: int = 1) -> Iterator[list[tuple[Any, ...]]]:
    """The batches of a corpus whose documents have 500 chunks."""
    found = vectors(seed, WORDS)
    for first in range(0, chunks, BATCH):
        size = min(BATCH, chunks - first)
        yield points(f"d-{seed}-{first // 500}", list(islice(found, size)), first)


def timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: ordered[int(len(ordered) * each)] for name, each in at.items()}
    found |= {"mean": statistics.fmean(ordered), "max": ordered[-1]}
    return {name: round(each * 1000, 2) for name, each in found.items()} | {"calls": len(ordered)}


def search_for(seconds: float, seed: int) -> list[float]:
    """The times of searches by this process, one after the other with a pause."""
    from ingestion_progress.pipeline.stages import Embedding, SparseVector
    from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors

    store, found = EmbeddedVectors(), []
    queries = vectors(seed, 3)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        indices, values = next(queries)
        vector = Embedding(SparseVector(indices=tuple(indices), values=tuple(values)))
        found.append(timed(lambda: store.search(vector, 10)))  # noqa: B023 (called at once)
        time.sleep(0.01)
    return found


def write_for_ever(seed: int) -> None:
    """A worker: a batch, then a pause in which others may use the core."""
    from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors

    store, found = EmbeddedVectors(), vectors(seed, WORDS)
    for number in count():
        store.write_points(
            as_embeddings(points(f"w-{seed}", list(islice(found, BATCH)), number * BATCH))
        )
        time.sleep(0.05)


@contextmanager
def other(folder: Path, *args: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.search", *map(str, args)]
    env = os.environ | {"SEARCH_FOLDER": str(folder)}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def searched(folder: Path, searchers: int, writers: int) -> dict[str, float]:
    with ExitStack() as stack:
        for number in range(writers):
            stack.enter_context(other(folder, "--write", 100 + number))
        started = [
            stack.enter_context(other(folder, "--search", number)) for number in range(searchers)
        ]
        outputs = [process.communicate()[0] for process in started]
    return quantiles([each for output in outputs for each in json.loads(output)])


def embedded(folder: Path, chunks: int) -> dict[str, Any]:
    from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors

    store = EmbeddedVectors(f"chunks-{chunks}")
    os.environ["QDRANT_COLLECTION"] = f"chunks-{chunks}"
    prepared = list(batches(chunks))
    started = time.perf_counter()
    writes = [timed(lambda: store.write_points(as_embeddings(batch))) for batch in prepared]  # noqa: B023
    found: dict[str, Any] = {
        "chunks_per_second": round(chunks / (time.perf_counter() - started)),
        "write_of_64": quantiles(writes),
    }
    for searchers, writers in ((1, 0), (1, 1), (4, 1)):
        name = f"search_by_{searchers}_while_{writers or 'none'}_writes"
        found[name] = searched(folder, searchers, writers)
    return found


def former(folder: Path, chunks: int) -> dict[str, Any]:
    """qdrant-client's local mode, with the options that the former store set."""
    from qdrant_client import QdrantClient
    from qdrant_client import models as qdrant

    def opened() -> Any:
        client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
        if client.collection_exists("chunks"):
            # The former store did this, too.
            database = client._client.collections["chunks"].storage.storage  # noqa: SLF001
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
        return closing(client)

    def structs(batch: Sequence[tuple[Any, ...]]) -> list[qdrant.PointStruct]:
        return [
            qdrant.PointStruct(
                id=key,
                vector={"bm25": qdrant.SparseVector(indices=indices, values=values)},
                payload=payload,
            )
            for key, indices, values, payload in batch
        ]

    def write(batch: Sequence[tuple[Any, ...]]) -> None:
        with opened() as client:
            client.upsert("chunks", structs(batch))

    def search(vector: Vector) -> None:
        sparse = qdrant.SparseVector(indices=vector[0], values=vector[1])
        with opened() as client:
            client.query_points("chunks", sparse, using="bm25", limit=10, with_payload=True)

    with opened() as client:
        params = qdrant.SparseVectorParams(modifier=qdrant.Modifier.IDF)
        client.create_collection("chunks", {}, sparse_vectors_config={"bm25": params})
    with opened() as client:
        for batch in batches(chunks):
            client.upsert("chunks", structs(batch))
    more = batches(BATCH * FORMER_CALLS, seed=2)
    writes = [timed(lambda: write(batch)) for batch in more]  # noqa: B023
    queries = islice(vectors(0, 3), FORMER_CALLS)
    searches = [timed(lambda: search(query)) for query in queries]  # noqa: B023
    return {"write_of_64": quantiles(writes), "search_by_1_while_none_writes": quantiles(searches)}


def report(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    lines = [
        "| chunks | store | what | p50 | p99 | max ms | calls |",
        "|---|---|---|---|---|---|---|",
    ]
    for size, stores in found.items():
        for store, measures in stores.items():
            for name, each in measures.items():
                if isinstance(each, dict):
                    cells = (size, store, name.replace("_", " "), each["p50"], each["p99"])
                    row = (*cells, each["max"], each["calls"])
                    lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


def main(sizes: Sequence[int]) -> None:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    loads: list[Sequence[float]] = []
    with tempfile.TemporaryDirectory() as name:
        set_up(Path(name))
        for size in sizes:
            found[f"{size:,}"] = measured = {}
            loads.append([round(each, 2) for each in os.getloadavg()])
            measured["embedded"] = embedded(Path(name), size)
            loads.append([round(each, 2) for each in os.getloadavg()])
            if size <= FORMER_MAX_CHUNKS:
                measured["former"] = former(Path(name) / f"former-{size}", size)
            print(report({f"{size:,}": measured}), file=sys.stderr)
    print(report(found))
    now = datetime.now(tz=UTC)
    result = {
        "kind": "search",
        "title": "writes and searches of the embedded store, and of the former one",
        "at": now.isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "load_averages_before_each_run": loads},
        "packages": {each: version(each) for each in ("qdrant-edge-py", "qdrant-client")},
        "milliseconds": found,
    }
    path = ROOT / "var" / "bench" / "results" / f"{now:%Y-%m-%d}-search.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] in (["--write"], ["--search"]):
        set_up(Path(os.environ["SEARCH_FOLDER"]))
        if sys.argv[1] == "--write":
            write_for_ever(int(sys.argv[2]))
        print(json.dumps(search_for(MEASURED_SECONDS, int(sys.argv[2]))))
    else:
        main([int(each) for each in sys.argv[1:]] or SIZES)
