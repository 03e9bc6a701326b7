from __future__ import annotations

import contextlib
import errno
import gc
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from pytest_httpserver import HTTPServer
from qdrant_client import QdrantClient
from qdrant_client import models as qdrant

from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages import Chunk
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.stores import vectors
from ingestion_progress.pipeline.stores.vectors import QdrantStore
from tests.support.documents import storage  # noqa: F401
from tests.support.live import ROOT, live_project

pytestmark = pytest.mark.usefixtures("storage")


def pairs(*texts: str):
    embedder = Bm25Embedder()
    return [
        (Chunk(key=f"c-{n}", text=text, page=n), embedder.embed(text))
        for n, text in enumerate(texts, start=1)
    ]


def test_web_process_starts_without_qdrants_client():
    """Its import takes longer than everything else."""
    source = """
import sys
from progress_project.asgi import application
from django.urls import get_resolver
assert get_resolver().url_patterns
assert "ingestion_progress.pipeline.editions" in sys.modules
assert "qdrant_client" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", source], cwd=ROOT, timeout=60, check=True)


def write(document_id: str, chunks, epoch: str = "epoch") -> int:
    return QdrantStore().write(Document(id=document_id, name="bees.md"), epoch, chunks)


def ask(query: str, limit: int = 10):
    return QdrantStore().search(Bm25Embedder().embed_query(query), limit)


def test_written_chunk_is_found_with_its_payload():
    assert write("d", pairs("Bees make honey", "Wasps make paper")) == 2
    (best,) = ask("honey")
    assert best.payload == {
        "document_id": "d", "document_name": "bees.md", "epoch": "epoch", "chunk": "c-1", "page": 1,
        "start": 0, "end": 0, "heading": "", "text": "Bees make honey",
    }  # fmt: skip
    assert best.score > 0
    assert ask("the") == []
    assert ask("zebra") == []


def test_local_store_does_not_sync_every_point():
    def settings_of(client):
        database = client._client.collections[conf.qdrant_collection].storage.storage
        return [
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]

    assert QdrantStore()._call(settings_of, 1.0) == ["wal", 1]


def test_rare_word_weighs_more_than_a_common_one():
    write("d", pairs("common rare", *["common word"] * 5))
    common, rare = ask("common", 1)[0].score, ask("rare", 1)[0].score
    assert rare > 2 * common


def test_second_write_overwrites_and_discard_deletes_one_document():
    store = QdrantStore()
    write("d", pairs("one", "two", "three"))
    write("e", pairs("four"))
    write("d", pairs("five", "two"))
    assert (store.count("d"), store.count("e")) == (3, 1)
    store.discard("d", "epoch")
    assert (store.count("d"), store.count("e")) == (0, 1)
    assert write("d", []) == 0


def test_editions_of_a_document_are_separate():
    store = QdrantStore()
    write("d", pairs("one", "two"))
    write("d", pairs("one"), epoch="next")
    assert [store.count("d", epoch) for epoch in ("epoch", "next", "")] == [2, 1, 0]
    vector = Bm25Embedder().embed_query("one")
    (hit,) = store.search(vector, 10, hidden=[("d", "next"), ("d", "unknown")])
    assert hit.payload["epoch"] == "epoch"
    assert store.adopt("d", "next", ["epoch"]) == 2
    store.discard("d", "epoch")
    assert store.count("d") == 2
    assert {hit.payload["chunk"] for hit in ask("one two")} == {"c-1", "c-2"}


def test_chunk_that_will_be_written_again_is_not_adopted():
    """A process was killed after it stored the chunk and before it stored that it is done."""
    write("d", pairs("one", "two"))
    adopted = QdrantStore().adopt("d", "next", ["epoch"], lambda key: key == "c-1")
    assert adopted == QdrantStore().count("d", "next") == 1
    assert adopted + write("d", pairs("one", "two")[1:], epoch="next") == 2
    assert QdrantStore().count("d", "next") == 2


def test_chunks_of_before_there_were_editions_can_be_discarded():
    store = QdrantStore()
    write("d", pairs("one"))
    write("d", pairs("two"), epoch="next")
    everything = qdrant.Filter(must=[vectors._is("epoch", "epoch")])
    store._call(lambda client: client.delete_payload("chunks", ["epoch"], everything), 1.0)
    assert store.count("d", "") == 1
    store.discard("d", "")
    assert (store.count("d", ""), store.count("d", "next")) == (0, 1)


def test_threads_share_the_folder():
    errors = []

    def work(number: int) -> None:
        try:
            for _ in range(3):
                write(f"d{number}", pairs("text"))
                ask("text")
        except Exception as error:  # noqa: BLE001  (whatever it is, the test names it)
            errors.append(error)

    threads = [threading.Thread(target=work, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(ask("text")) == 4


def test_locked_folder_is_a_clear_error(storage, monkeypatch):  # noqa: F811
    monkeypatch.setattr(vectors, "READ_TIMEOUT_SECONDS", 0.1)
    with vectors._local_client(storage / "qdrant", 1):
        with pytest.raises(VectorStoreUnavailable) as busy:
            ask("honey")
    assert "in use by another process" in str(busy.value)
    assert "QDRANT_URL" in str(busy.value)


# A client that does not get the lock leaves its lock file open.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_client_without_our_lock_is_a_clear_error(storage):  # noqa: F811
    stranger = QdrantClient(path=str(storage / "qdrant"))
    try:
        with pytest.raises(VectorStoreUnavailable, match="in use by another process"):
            ask("honey")
    finally:
        stranger.close()
    gc.collect()


def test_processes_share_the_folder(tmp_path):
    script = textwrap.dedent(
        """
        import sys
        import django; django.setup()
        from ingestion_progress.pipeline.models import Document
        from ingestion_progress.pipeline.stages import Chunk
        from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
        from ingestion_progress.pipeline.stores.vectors import QdrantStore
        embedder, store = Bm25Embedder(), QdrantStore()
        for number in range(10):
            chunk = Chunk(key=f"c-{number}", text="shared text")
            document = Document(id=sys.argv[1], name="n")
            store.write(document, "e", [(chunk, embedder.embed(chunk.text))])
            assert store.search(embedder.embed_query("shared"), 3)
        assert store.count(sys.argv[1]) == 10
        """
    )
    with live_project(tmp_path, f"sqlite:///{tmp_path / 'progress.sqlite3'}") as project:
        started = [project.spawn(sys.executable, "-c", script, name) for name in "abc"]
        codes = [process.wait(120) for process in started]
        assert codes == [0, 0, 0], project.log.read_text()


def test_server_is_used_if_configured(settings, httpserver: HTTPServer):
    settings.INGESTION_PROGRESS_QDRANT_URL = httpserver.url_for("")
    settings.INGESTION_PROGRESS_QDRANT_API_KEY = "key"
    ok = {"status": "ok", "time": 0}
    httpserver.expect_request("/collections/chunks/exists").respond_with_json(
        ok | {"result": {"exists": False}}
    )
    httpserver.expect_request("/collections/chunks", method="PUT").respond_with_json(
        ok | {"result": True}
    )
    done = ok | {"result": {"operation_id": 1, "status": "completed"}}
    httpserver.expect_request("/collections/chunks/index", method="PUT").respond_with_json(done)
    httpserver.expect_request("/collections/chunks/points", method="PUT").respond_with_json(done)
    with pytest.warns(UserWarning, match="Api key is used with an insecure connection"):
        assert write("d", pairs("Bees make honey")) == 1
    calls = {request.path: request.get_json(silent=True) for request, _ in httpserver.log}
    sparse = calls["/collections/chunks"]["sparse_vectors"]["bm25"]
    assert sparse["modifier"] == "idf"
    (point,) = calls["/collections/chunks/points"]["points"]
    assert point["payload"]["text"] == "Bees make honey"
    assert point["id"] == vectors.point_id("d", "epoch", "c-1")


def test_unreachable_server_is_retried_and_then_a_clear_error(settings):
    settings.INGESTION_PROGRESS_QDRANT_URL = "http://127.0.0.1:9"
    started = time.monotonic()
    with pytest.raises(VectorStoreUnavailable, match="does not answer as expected"):
        QdrantStore().count("d")
    assert time.monotonic() - started > 0.5


def test_refusing_server_is_a_clear_error(settings, httpserver: HTTPServer):
    settings.INGESTION_PROGRESS_QDRANT_URL = httpserver.url_for("")
    httpserver.expect_request("/collections/chunks/exists").respond_with_data("no", status=403)
    with pytest.raises(VectorStoreUnavailable, match="403"):
        QdrantStore().count("d")


@pytest.mark.parametrize("name", ["meta.json", "storage.sqlite"])
def test_damaged_local_store_is_reported_in_a_sentence(name):
    write("d", pairs("Bees make honey"))
    (path,) = conf.qdrant_path.rglob(name)
    path.write_bytes(b"neither of the two" * 1000)

    with pytest.raises(VectorStoreUnavailable) as broken:
        ask("honey")
    assert str(broken.value) == (
        "The search index cannot be used. Its files may be damaged: delete its folder and ingest "
        "the documents again."
    )
    assert not [file for file in open_databases() if file.startswith(str(conf.qdrant_path))]


def open_databases() -> list[str]:
    """The SQLite files that connections of this thread have open."""
    files: list[str] = []
    for each in gc.get_objects():
        if type(each) is sqlite3.Connection:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed, or of another thread
                files += [file for _, _, file in each.execute("PRAGMA database_list")]
    return files


def test_full_disk_under_the_local_store_is_reported(monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/site/var/qdrant")

    monkeypatch.setattr(vectors, "QdrantClient", full)
    with pytest.raises(VectorStoreUnavailable) as broken:
        ask("honey")
    assert str(broken.value) == "The search index cannot be used. The disk is full."
