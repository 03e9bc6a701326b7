from __future__ import annotations

import gc
import io
from contextlib import closing

import pytest
from django.core.management import CommandError, call_command
from qdrant_client import QdrantClient
from qdrant_client import models as qdrant

from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.search import rebuild
from ingestion_progress.pipeline.stages import Chunk, Embedding, SparseVector
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.stores.chunk_id import point_id
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from ingestion_progress.pipeline.stores.vectors import payload_of
from tests.support.documents import storage  # noqa: F401

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("storage")]

# Ids of words that no embedder of today gives.
FOREIGN = qdrant.SparseVector(indices=[1, 2], values=[1.0, 1.0])


def make_former_index(texts: list[str]) -> None:
    """A folder as older versions wrote it, with qdrant-client's local mode."""
    document = Document(id="d", name="bees.md")
    idf = qdrant.SparseVectorParams(modifier=qdrant.Modifier.IDF)
    with closing(former_client()) as client:
        client.create_collection("chunks", vectors_config={}, sparse_vectors_config={"bm25": idf})
        points = [
            qdrant.PointStruct(
                id=point_id("d", "e", f"c-{number}"),
                vector={"bm25": FOREIGN},
                payload=payload_of(document, "e", Chunk(key=f"c-{number}", text=text, page=1)),
            )
            for number, text in enumerate(texts, start=1)
        ]
        points.append(  # of before there were editions
            qdrant.PointStruct(
                id=point_id("old", "", "c-1"),
                vector={"bm25": FOREIGN},
                payload={"document_id": "old", "chunk": "c-1", "text": "Old wasps"},
            )
        )
        client.upsert("chunks", points)


def former_client() -> QdrantClient:
    return QdrantClient(path=str(conf.qdrant_path), force_disable_check_same_thread=True)


def ask(query: str):
    return EmbeddedVectors().search(Embedding(Bm25Embedder().embed_query(query)), 10)


def run() -> str:
    out = io.StringIO()
    call_command("rebuild_search_index", stdout=out)
    return out.getvalue()


def test_former_index_is_converted_by_the_command_that_its_error_names():
    make_former_index(["Bees make honey", *["Wasps make paper"] * 400])
    for _ in range(2):
        with pytest.raises(VectorStoreUnavailable) as refused:
            ask("honey")
        assert str(refused.value) == (
            "The search index cannot be used. Its format is that of an older version: convert it "
            "with `manage.py rebuild_search_index`."
        )
    with pytest.raises(VectorStoreUnavailable):
        EmbeddedVectors().write(Document(id="d", name="n"), "e", [bees()])
    out = run()
    assert out.startswith("402 chunks were indexed again.\n")
    assert str(conf.qdrant_path / "collection") in out
    (hit,) = ask("honey")
    assert hit.payload["chunk"] == "c-1"
    assert hit.payload["epoch"] == "e"
    store = EmbeddedVectors()
    assert (store.count("d", "e"), store.count("old", "")) == (401, 1)
    assert sorted(each.name for each in (conf.qdrant_path / "shards").iterdir()) == ["chunks"]


def bees() -> tuple[Chunk, Embedding]:
    return Chunk(key="c-9", text="Bees", page=1), Embedding(Bm25Embedder().embed("Bees"))


def test_conversion_that_was_interrupted_starts_again(monkeypatch):
    make_former_index(["Bees make honey"] * 300)

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild.rebuild_search_index(interrupt)
    with pytest.raises(VectorStoreUnavailable, match="rebuild_search_index"):
        ask("honey")
    assert rebuild.rebuild_search_index() == 301
    assert EmbeddedVectors().count("d", "e") == 300


def test_index_of_today_is_embedded_again():
    store = EmbeddedVectors()
    wrong = Embedding(SparseVector(indices=(1,), values=(1.0,)))
    document = Document(id="d", name="n")
    store.write(document, "e", [(Chunk(key="c-1", text="Bees make honey", page=1), wrong)])
    assert ask("honey") == []
    assert run() == "1 chunk was indexed again.\n"
    (hit,) = ask("honey")
    assert hit.payload["epoch"] == "e"
    assert store.search(wrong, 10) == []


def test_index_without_chunks_can_be_rebuilt():
    assert run() == "0 chunks were indexed again.\n"


# A client that cannot open the folder leaves its files open.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_former_index_in_use_is_reported():
    make_former_index([])
    with closing(former_client()):
        with pytest.raises(CommandError, match="A process of the older version uses"):
            run()
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_damaged_former_index_is_reported():
    make_former_index([])
    (conf.qdrant_path / "meta.json").write_text("no JSON")
    with pytest.raises(CommandError, match="The former search index cannot be read"):
        run()
    gc.collect()
