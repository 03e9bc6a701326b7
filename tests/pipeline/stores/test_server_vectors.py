from __future__ import annotations

import time

import pytest
from pytest_httpserver import HTTPServer
from qdrant_client import QdrantClient
from qdrant_client import models as qdrant

from ingestion_progress.pipeline.exceptions import VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages import Chunk, DenseVector, Embedding, SparseVector
from ingestion_progress.pipeline.stores import server_vectors
from ingestion_progress.pipeline.stores.chunk_id import point_id
from ingestion_progress.pipeline.stores.server_vectors import ServerVectors
from tests.support.documents import storage  # noqa: F401
from tests.support.qdrant import local_store

pytestmark = pytest.mark.usefixtures("storage")


def test_server_is_used_if_configured(settings, httpserver: HTTPServer):
    settings.INGESTION_PROGRESS_QDRANT_URL = httpserver.url_for("")
    settings.INGESTION_PROGRESS_QDRANT_API_KEY = "key"
    ok = {"status": "ok", "time": 0}
    httpserver.expect_request("/collections/chunks/exists").respond_with_json(
        ok | {"result": {"exists": False}}
    )
    done = ok | {"result": True}
    no_alias = ok | {"result": {"aliases": []}}
    httpserver.expect_request("/aliases").respond_with_json(no_alias)
    httpserver.expect_request("/collections/chunks-1", method="PUT").respond_with_json(done)
    httpserver.expect_request("/collections/aliases", method="POST").respond_with_json(done)
    done = ok | {"result": {"operation_id": 1, "status": "completed"}}
    httpserver.expect_request("/collections/chunks-1/index", method="PUT").respond_with_json(done)
    httpserver.expect_request("/collections/chunks/points", method="PUT").respond_with_json(done)
    text = "Bees make honey"
    bees = (
        Chunk(key="c-1", text=text, page=1),
        Embedding(SparseVector(indices=(1,), values=(1.0,))),
    )
    with pytest.warns(UserWarning, match="Api key is used with an insecure connection"):
        assert ServerVectors().write(Document(id="d", name="bees.md"), "epoch", [bees]) == 1
    calls = {request.path: request.get_json(silent=True) for request, _ in httpserver.log}
    (created,) = calls["/collections/aliases"]["actions"]
    assert created == {"create_alias": {"alias_name": "chunks", "collection_name": "chunks-1"}}
    sparse = calls["/collections/chunks-1"]["sparse_vectors"]["bm25"]
    assert sparse["modifier"] == "idf"
    (point,) = calls["/collections/chunks/points"]["points"]
    assert point["payload"]["text"] == "Bees make honey"
    assert point["id"] == point_id("d", "epoch", "c-1")


def test_unreachable_server_is_retried_and_then_a_clear_error(settings):
    settings.INGESTION_PROGRESS_QDRANT_URL = "http://127.0.0.1:9"
    started = time.monotonic()
    with pytest.raises(VectorStoreUnavailable, match="does not answer as expected"):
        ServerVectors().count("d")
    assert time.monotonic() - started > 0.5


def test_refusing_server_is_a_clear_error(settings, httpserver: HTTPServer):
    settings.INGESTION_PROGRESS_QDRANT_URL = httpserver.url_for("")
    httpserver.expect_request("/collections/chunks/exists").respond_with_data("no", status=403)
    with pytest.raises(VectorStoreUnavailable, match="403"):
        ServerVectors().count("d")


@pytest.fixture
def local_qdrant(settings, monkeypatch) -> ServerVectors:
    return local_store(settings, monkeypatch)


def test_filters_pages_and_reads_chunks(local_qdrant: ServerVectors):
    words = Embedding(SparseVector(indices=(1,), values=(1.0,)))
    for document_id in ("d", "e"):
        chunks = [
            (Chunk(key=f"c-{number}", text=f"Bees {number}", page=number % 3), words)
            for number in range(1, 7)
        ]
        local_qdrant.write(Document(id=document_id, name="bees.md"), "epoch", chunks)

    def found(**filters):
        matches = local_qdrant.search(words, 100, **filters)
        return sorted((match.payload["document_id"], match.payload["page"]) for match in matches)

    assert len(found()) == 12
    assert found(documents=["d"], pages=[1]) == [("d", 1), ("d", 1)]
    assert found(pages=[1, 2], hidden=[("e", "epoch")]) == [("d", 1), ("d", 1), ("d", 2), ("d", 2)]
    assert found(documents=[]) == []
    assert sorted(local_qdrant.chunk_keys("d", "epoch")) == [
        f"c-{number}" for number in range(1, 7)
    ]
    assert local_qdrant.count_by_page("d", "epoch") == {0: 2, 1: 2, 2: 2}
    assert local_qdrant.count_by_page("d", "other") == {}
    read = local_qdrant.read("d", "epoch", ["c-2", "c-5", "c-9"])
    assert sorted(payload["text"] for payload in read) == ["Bees 2", "Bees 5"]
    local_qdrant.discard("d")
    assert local_qdrant.chunk_keys("d", "epoch") == []


def chunk(number: int) -> tuple[Chunk, Embedding]:
    words = Embedding(SparseVector(indices=(1,), values=(1.0,)))
    return Chunk(key=f"c-{number}", text=f"Bees {number}", page=number), words


def names(client: QdrantClient) -> list[str]:
    return sorted(each.name for each in client.get_collections().collections)


def test_rewritten_collection_takes_the_place_of_the_former_one(local_qdrant: ServerVectors):
    document = Document(id="d", name="bees.md")
    client = server_vectors.QdrantClient()
    local_qdrant.write(document, "epoch", [chunk(number) for number in range(300)])
    assert names(client) == ["chunks-1"]
    late = []

    def changed(chunks):
        if not late:  # another worker writes meanwhile
            late.append(local_qdrant.write(document, "epoch", [chunk(1000)]))
        other = Embedding(SparseVector(indices=(2,), values=(1.0,)), DenseVector("m", (1.0, 0.0)))
        return [(other, "de")] * len(chunks)

    for number in (2, 3):
        local_qdrant.rewrite(changed)
        assert names(client) == [f"chunks-{number}"]
        assert local_qdrant.count("d", "epoch") == 301
    query = Embedding(SparseVector((), ()), DenseVector("m", (1.0, 0.0)))
    assert {hit.payload["language"] for hit in local_qdrant.search(query, 500)} == {"de"}
    assert local_qdrant.search(chunk(1)[1], 10) == []


def test_collection_without_an_alias_gets_one_and_an_interrupted_rebuild_starts_again(
    local_qdrant: ServerVectors,
):
    client = server_vectors.QdrantClient()
    idf = qdrant.SparseVectorParams(modifier=qdrant.Modifier.IDF)
    client.create_collection("chunks", {}, sparse_vectors_config={"bm25": idf})
    local_qdrant.write(Document(id="d", name="bees.md"), "epoch", [chunk(1), chunk(2)])

    def interrupt(chunks):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local_qdrant.rewrite(interrupt)
    assert names(client) == ["chunks", "chunks-1"]
    local_qdrant.rewrite(lambda chunks: [(chunk(1)[1], "en")] * len(chunks))
    assert names(client) == ["chunks-1"]
    assert len(local_qdrant.search(chunk(1)[1], 10)) == 2


def test_indexes_of_an_older_collection_are_completed(settings, httpserver: HTTPServer):
    settings.INGESTION_PROGRESS_QDRANT_URL = httpserver.url_for("")
    ok = {"status": "ok", "time": 0}
    exists = ok | {"result": {"exists": True}}
    httpserver.expect_request("/collections/chunks/exists").respond_with_json(exists)
    done = ok | {"result": {"operation_id": 1, "status": "completed"}}
    httpserver.expect_request("/collections/chunks/index", method="PUT").respond_with_json(done)
    ServerVectors().optimize()
    sent = [request.get_json(silent=True) for request, _ in httpserver.log]
    assert [(each["field_name"], each["field_schema"]) for each in sent if each] == [
        ("document_id", "keyword"),
        ("epoch", "keyword"),
        ("language", "keyword"),
        ("page", "integer"),
        ("position", "integer"),
    ]
