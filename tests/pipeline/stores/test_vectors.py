from __future__ import annotations

import errno
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import qdrant_edge

from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import VectorStoreBusy, VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages import Chunk, Embedding, SparseVector
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.stores.embedded import connections as connections_module
from ingestion_progress.pipeline.stores.embedded import files, index, process, vectors
from ingestion_progress.pipeline.stores.embedded.connections import close_all, connections
from ingestion_progress.pipeline.stores.embedded.shard import Shard
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from tests.support.documents import storage  # noqa: F401
from tests.support.live import ROOT, live_project

pytestmark = pytest.mark.usefixtures("storage")

DAMAGED = (
    "The search index cannot be used. Its files may be damaged: delete its folder and ingest the "
    "documents again."
)


def pairs(*texts: str):
    embedder = Bm25Embedder()
    return [
        (Chunk(key=f"c-{n}", text=text, page=n), Embedding(embedder.embed(text)))
        for n, text in enumerate(texts, start=1)
    ]


def write(document_id: str, chunks, epoch: str = "epoch") -> int:
    return EmbeddedVectors().write(Document(id=document_id, name="bees.md"), epoch, chunks)


def ask(query: str, limit: int = 10):
    return EmbeddedVectors().search(Embedding(Bm25Embedder().embed_query(query)), limit)


def folder() -> Path:
    return conf.qdrant_path.resolve()


def holders() -> list[psutil.Process]:
    """The processes that hold the folder."""
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if (each.info["cmdline"] or [])[-1:] == [str(folder())] and not has_ended(each)
    ]


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def holder() -> psutil.Process:
    (only,) = holders()
    return only


def wait_until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def shard_path() -> Path:
    return folder() / "shards" / "chunks"


@contextmanager
def closed_index():
    """The folder, while no process has it open."""
    close_all()
    wait_until(lambda: not holders())
    yield shard_path()


@pytest.mark.parametrize("name", ["qdrant_client", "qdrant_edge"])
def test_web_process_starts_without_qdrant(name):
    """Importing the client takes longer than everything else."""
    source = f"""
import sys
from progress_project.asgi import application
from django.urls import get_resolver
assert get_resolver().url_patterns
assert "ingestion_progress.pipeline.documents.editions" in sys.modules
assert "{name}" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", source], cwd=ROOT, timeout=60, check=True)


def test_process_that_searches_loads_neither_qdrant():
    ask("honey")
    source = """
import sys, django; django.setup()
from ingestion_progress.pipeline.stores import vector_store
assert vector_store().count("d") == 0
assert {"qdrant_client", "qdrant_edge"}.isdisjoint(sys.modules)
"""
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "progress_project.settings",
        "QDRANT_PATH": str(folder()),
    }
    subprocess.run([sys.executable, "-c", source], cwd=ROOT, timeout=60, check=True, env=env)


def test_written_chunk_is_found_with_its_payload():
    assert write("d", pairs("Bees make honey", "Wasps make paper")) == 2
    (best,) = ask("honey")
    assert best.payload == {
        "document_id": "d", "document_name": "bees.md", "epoch": "epoch", "chunk": "c-1", "page": 1,
        "position": 1, "start": 0, "end": 0, "heading": "", "language": "",
        "text": "Bees make honey",
    }  # fmt: skip
    assert best.score > 0
    assert ask("the") == []
    assert ask("zebra") == []


def test_text_of_a_damaged_document_is_stored():
    ((_, vector),) = pairs("Bees make honey")
    write("d", [(Chunk(key="c-1", text="Bees \ud800 make\x00 honey\n\u2028 😀", page=1), vector)])
    (hit,) = ask("honey")
    assert hit.payload["text"] == "Bees ? make\x00 honey\n\u2028 😀"


def test_rare_word_weighs_more_than_a_common_one():
    write("d", pairs("common rare", *["common word"] * 5))
    common, rare = ask("common", 1)[0].score, ask("rare", 1)[0].score
    assert rare > 2 * common


def test_second_write_overwrites_and_discard_deletes_one_document():
    store = EmbeddedVectors()
    write("d", pairs("one", "two", "three"))
    write("e", pairs("four"))
    write("d", pairs("five", "two"))
    assert (store.count("d"), store.count("e")) == (3, 1)
    store.discard("d", "epoch")
    assert (store.count("d"), store.count("e")) == (0, 1)
    assert write("d", []) == 0


def test_editions_of_a_document_are_separate():
    store = EmbeddedVectors()
    write("d", pairs("one", "two"))
    write("d", pairs("one"), epoch="next")
    assert [store.count("d", epoch) for epoch in ("epoch", "next", "")] == [2, 1, 0]
    vector = Embedding(Bm25Embedder().embed_query("one"))
    (hit,) = store.search(vector, 10, hidden=[("d", "next"), ("d", "unknown")])
    assert hit.payload["epoch"] == "epoch"
    assert store.adopt("d", "next", ["epoch"]) == 2
    store.discard("d", "epoch")
    assert store.count("d") == 2
    assert {hit.payload["chunk"] for hit in ask("one two")} == {"c-1", "c-2"}


def test_search_can_be_limited_to_documents():
    for name in "abc":
        write(name, pairs("Bees make honey"))
    vector = Embedding(Bm25Embedder().embed_query("honey"))
    found = EmbeddedVectors().search(vector, 10, documents=["a", "c", "unknown"])
    assert {hit.payload["document_id"] for hit in found} == {"a", "c"}
    assert EmbeddedVectors().search(vector, 10, documents=[]) == []


def test_chunk_that_will_be_written_again_is_not_adopted():
    """A process was killed after it stored the chunk and before it stored that it is done."""
    write("d", pairs("one", "two"))
    adopted = EmbeddedVectors().adopt("d", "next", ["epoch"], lambda key: key == "c-1")
    assert adopted == EmbeddedVectors().count("d", "next") == 1
    assert adopted + write("d", pairs("one", "two")[1:], epoch="next") == 2
    assert EmbeddedVectors().count("d", "next") == 2


def test_many_chunks_are_adopted(monkeypatch):
    monkeypatch.setattr(vectors, "COPY_BATCH", 200)
    store = EmbeddedVectors()
    vector = Embedding(SparseVector(indices=(1, 2), values=(1.0, 2.0)))
    write("d", [(Chunk(key=f"c-{n}", text="text", page=n), vector) for n in range(600)])
    assert store.adopt("d", "next", ["epoch"], lambda key: key != "c-7") == 599
    store.discard("d", "epoch")
    assert len(store.search(Embedding(SparseVector(indices=(2,), values=(1.0,))), 1000)) == 599


def test_chunks_of_before_there_were_editions_can_be_discarded():
    store = EmbeddedVectors()
    write("d", pairs("two"), epoch="next")
    (_, vector), *_ = pairs("one")
    key = "11111111-1111-1111-1111-111111111111"
    store.write_points([(key, vector, {"document_id": "d"})])
    assert store.count("d", "") == 1
    store.discard("d", "")
    assert (store.count("d", ""), store.count("d", "next")) == (0, 1)


def test_collections_are_separate(settings):
    write("d", pairs("one"))
    settings.INGESTION_PROGRESS_QDRANT_COLLECTION = "../other/chunks"
    assert EmbeddedVectors().count("d") == 0
    write("d", pairs("one", "two"))
    assert EmbeddedVectors().count("d") == 2
    settings.INGESTION_PROGRESS_QDRANT_COLLECTION = "chunks"
    assert EmbeddedVectors().count("d") == 1
    assert len([*(folder() / "shards").iterdir()]) == 2


def test_vectors_can_be_replaced_and_deleted_points_stay_deleted():
    store = EmbeddedVectors()
    write("d", pairs("one", "two"))
    ((key, payload), (other, _)) = next(store.stored())
    assert payload["document_id"] == "d"
    store.discard("d")
    write("d", pairs("one", "two"), epoch="epoch")
    vector = Embedding(SparseVector(indices=(77,), values=(1.0,)))
    missing = "11111111-1111-1111-1111-111111111111"
    store.replace_vectors([(key, vector, "de"), (missing, vector, "de")])
    (hit,) = store.search(vector, 10)
    assert hit.payload == payload | {"language": "de"}
    assert store.count("d") == 2
    assert other != key


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
    holder()


def test_processes_share_the_folder(tmp_path):
    script = textwrap.dedent(
        """
        import sys
        import django; django.setup()
        from ingestion_progress.pipeline.models import Document
        from ingestion_progress.pipeline.stages import Chunk, Embedding
        from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
        from ingestion_progress.pipeline.stores import vector_store
        embedder, store = Bm25Embedder(), vector_store()
        for number in range(10):
            chunk = Chunk(key=f"c-{number}", text="shared text")
            document = Document(id=sys.argv[1], name="n")
            store.write(document, "e", [(chunk, Embedding(embedder.embed(chunk.text)))])
            assert store.search(Embedding(embedder.embed_query("shared")), 3)
        assert store.count(sys.argv[1]) == 10
        """
    )
    with live_project(tmp_path, f"sqlite:///{tmp_path / 'progress.sqlite3'}") as project:
        started = [project.spawn(sys.executable, "-c", script, name) for name in "abc"]
        codes = [process.wait(120) for process in started]
        assert codes == [0, 0, 0], project.log.read_text()


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_forked_process_uses_connections_of_its_own():
    write("d", pairs("Bees make honey"))
    child = os.fork()
    if not child:
        os._exit(0 if len(ask("honey")) == 1 else 1)
    for _ in range(20):
        assert len(ask("honey")) == 1
    assert os.waitpid(child, 0)[1] == 0


def test_process_ends_when_nothing_uses_it():
    write("d", pairs("Bees make honey"))
    ended = holder()
    with closed_index():
        assert has_ended(ended)
        assert not (folder() / files.SOCKET_NAME).exists()
    assert len(ask("honey")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_process_that_ends_is_replaced(number):
    write("d", pairs("Bees make honey"))
    former = holder()
    former.send_signal(number)
    wait_until(lambda: has_ended(former))
    assert len(ask("honey")) == 1
    assert holder().pid != former.pid


def test_nothing_that_was_written_is_lost_when_the_process_is_killed():
    """kill -9 at random moments of writes, of flushes and of starts."""
    store, done = EmbeddedVectors(), threading.Event()
    written = []

    def work(name: str) -> None:
        for number in itertools.count():
            if done.is_set():
                return
            try:
                write(name, pairs("some text") * 20, epoch=str(number))
            except VectorStoreBusy:  # it was killed three times during one write
                continue
            written.append((name, str(number)))

    threads = [threading.Thread(target=work, args=[name]) for name in "ab"]
    for thread in threads:
        thread.start()
    try:
        for seconds in random.Random(4).choices([0.05, 0.3, 0.7, 1.5], k=10):
            before = len(written)
            wait_until(lambda before=before: len(written) > before and holders(), 60)
            time.sleep(seconds)
            for each in holders():
                with suppress(psutil.NoSuchProcess):
                    each.kill()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert len(written) >= 10
    assert {store.count(*each) for each in written} == {1}


def test_frozen_process_makes_others_wait_for_a_limited_time(monkeypatch):
    monkeypatch.setattr(vectors, "READ_TIMEOUT_SECONDS", 0.2)
    write("d", pairs("Bees make honey"))
    frozen = holder()
    frozen.suspend()
    try:
        with pytest.raises(VectorStoreBusy) as busy:
            ask("honey")
    finally:
        frozen.resume()
    assert "in use by another process" in str(busy.value)
    assert "QDRANT_URL" in str(busy.value)
    monkeypatch.undo()
    assert len(ask("honey")) == 1


def test_folder_that_another_program_has_open_is_a_clear_error(monkeypatch):
    write("d", pairs("Bees make honey"))
    with closed_index() as path:
        stranger = qdrant_edge.EdgeShard.load(str(path))
        try:
            with pytest.raises(VectorStoreBusy, match="in use by another process"):
                ask("honey")
        finally:
            stranger.close()
    assert len(ask("honey")) == 1


@pytest.mark.parametrize("part", ["", "shards"])
def test_deleted_folder_is_made_again(part):
    write("d", pairs("Bees make honey"))
    shutil.rmtree(folder() / part)
    assert ask("honey") == []
    write("d", pairs("Bees make honey"))
    assert len(ask("honey")) == 1


def test_path_of_any_length(settings, tmp_path):
    settings.INGESTION_PROGRESS_QDRANT_PATH = tmp_path / ("long" * 30) / "qdrant"
    write("d", pairs("Bees make honey"))
    assert len(ask("honey")) == 1


@pytest.mark.parametrize(
    "name", ["segment.json", "edge_config.json", "first-index", "mutable_id_tracker.mappings"]
)
def test_damaged_index_is_reported_in_a_sentence(name):
    write("d", pairs("Bees make honey"))
    with closed_index() as path:
        (file,) = path.rglob(name)
        file.write_bytes(b"neither of the two" * 1000)
    with pytest.raises(VectorStoreUnavailable) as broken:
        ask("honey")
    assert str(broken.value) == DAMAGED
    assert not isinstance(broken.value, VectorStoreBusy)


def test_panic_of_the_engine_is_answered_and_ends_its_process(tmp_path, monkeypatch):
    class Panic(BaseException):
        """As PyO3's: no Exception."""

    def panic(*args: object, **kwargs: object) -> None:
        raise Panic("assertion failed")

    found = index.Index(tmp_path)
    monkeypatch.setattr(Shard, "count", panic)
    answer = found.answer(b'{"name": "count", "collection": "c", "arguments": {}}')
    assert answer["error"]["kind"] == "damaged"
    assert found.is_broken.is_set()
    found.close()


def test_index_of_a_newer_version_is_reported():
    write("d", pairs("Bees make honey"))
    with closed_index() as path:
        (path / "format.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(VectorStoreUnavailable, match="A newer version has written it"):
        ask("honey")


def test_file_in_place_of_the_folder_is_reported():
    folder().write_text("no folder")
    with pytest.raises(VectorStoreUnavailable) as broken:
        ask("honey")
    assert str(broken.value) == (
        "The search index cannot be used. A file or a connection of the server failed."
    )


def test_engine_that_is_not_installed_is_reported(monkeypatch, tmp_path):
    (tmp_path / "qdrant_edge.py").write_text("raise ImportError('not here')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(VectorStoreUnavailable, match="is the package qdrant-edge-py installed"):
        ask("honey")


def test_process_that_ends_again_and_again_is_reported(monkeypatch):
    def crash(*args: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(connections_module, "_exchanged", crash)
    with pytest.raises(VectorStoreBusy, match="was ended several times"):
        ask("honey")


def test_process_of_another_user_is_reported(monkeypatch):
    def refuse(*args: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(connections_module, "_connect", refuse)
    with pytest.raises(VectorStoreUnavailable) as refused:
        ask("honey")
    assert str(refused.value) == (
        "The search index cannot be used. The server may not use a file or a service that it needs."
    )


def test_full_disk_is_noticed_before_the_system_kills_the_process(tmp_path, monkeypatch):
    found = index.Index(tmp_path)
    request = {"name": "count", "collection": "c", "arguments": {"document_id": "d", "epoch": None}}
    assert found.answer(json.dumps(request).encode()) == {"result": 0}
    monkeypatch.setattr(index, "MIN_FREE_BYTES", 1 << 60)
    write_request = {"name": "write", "collection": "c", "arguments": {"points": []}}
    error = found.answer(json.dumps(write_request).encode())["error"]
    assert error["errno"] == errno.ENOSPC
    assert found.answer(json.dumps(request).encode()) == {"result": 0}
    found.close()


def test_full_disk_is_reported_in_a_sentence():
    refusal = vectors._refusal({"kind": "failed", "errno": errno.ENOSPC, "text": "…"})
    assert str(refusal) == "The search index cannot be used. The disk is full."
    assert index.described(Exception("IO: No space left on device"))["errno"] == errno.ENOSPC


def test_mistake_of_a_request_is_not_called_damage():
    with pytest.raises(VectorStoreUnavailable) as failed:
        EmbeddedVectors()._ask("count", 10, wrong=True)
    assert "the log has the details" in str(failed.value)
    assert ask("honey") == []


def test_request_that_is_no_json_is_answered():
    ask("honey")
    with closing(socket.socket(socket.AF_UNIX)) as stranger:
        connections_module._connect(stranger, folder() / files.SOCKET_NAME)
        stranger.sendall(b"no JSON\n")
        assert json.loads(stranger.recv(10_000))["error"]["kind"] == "failed"
    assert ask("honey") == []


def test_client_that_leaves_before_the_answer_does_no_harm():
    ask("honey")
    for _ in range(20):
        with closing(socket.socket(socket.AF_UNIX)) as stranger:
            connections_module._connect(stranger, folder() / files.SOCKET_NAME)
            stranger.sendall(b'{"name": "page", "collection": "chunks", "arguments": {}}\n')
    assert ask("honey") == []


def test_two_processes_that_start_at_once_share_one_folder():
    command = [sys.executable, "-m", process.__name__, str(folder())]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    lines = [json.loads(each.communicate(timeout=60)[0]) for each in started]
    assert lines.count({"result": "ready"}) == 1
    assert lines.count({"error": {"kind": "taken"}}) == 2
    assert ask("honey") == []


def test_writes_are_flushed_when_there_are_no_more_or_after_a_time(tmp_path, monkeypatch):
    found, flushed = index.Index(tmp_path), []
    arguments = {"document_id": "d", "epoch": None}
    request = {"name": "discard", "collection": "c", "arguments": arguments}
    found.answer(json.dumps(request).encode())
    monkeypatch.setattr(Shard, "flush", lambda self: flushed.append(self))  # noqa: PLW0108
    monkeypatch.setattr(index, "QUIET_SECONDS", 3600)
    monkeypatch.setattr(index, "FLUSH_SECONDS", 3600)
    found.flush_if_due()
    assert flushed == []
    for limit in ("QUIET_SECONDS", "FLUSH_SECONDS"):
        with monkeypatch.context() as patch:
            patch.setattr(index, limit, -1)
            found.flush_if_due()
    assert len(flushed) == 2
    found.close()


def test_merged_shard_has_the_same_chunks(tmp_path):
    shard = Shard(tmp_path / "shard")
    points = [
        (f"{n:032x}", {"sparse": [[n % 50], [1.0]]}, {"document_id": f"d{n % 3}"})
        for n in range(3000)
    ]
    shard.write(points)
    shard.discard("d1", None)
    shard.optimize()
    assert [shard.count(f"d{n}", None) for n in range(3)] == [1000, 0, 1000]
    shard.close()


def test_connections_of_a_folder_are_shared():
    assert connections(folder()) is connections(folder() / "x" / "..")
