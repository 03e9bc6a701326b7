"""Chunks by their place, with those that failed left out, in each store."""

from __future__ import annotations

import pytest

from ingestion_progress.pipeline.documents.chunk_order import (
    ChunksByKey,
    ChunksByPosition,
    first_position,
    ordered_chunks,
)
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.search.rebuild import rebuild_search_index
from ingestion_progress.pipeline.stages import Chunk, Embedding, SparseVector
from ingestion_progress.pipeline.stores import vector_store
from ingestion_progress.pipeline.stores.chunk_id import FIRST_PICTURE
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from ingestion_progress.pipeline.stores.server_vectors import ServerVectors
from ingestion_progress.pipeline.stores.vectors import OrderedVectorStore, payload_of
from tests.support.documents import storage  # noqa: F401
from tests.support.qdrant import local_store

pytestmark = pytest.mark.usefixtures("storage")

# Of the text 1, 4 to 8 and 11 have failed, of the pictures 2 and 3.
TEXTS = (2, 3, 9, 10, 12, 13, 14)
PICTURES = (1, 4, 5)
KEYS = [f"c-{number}" for number in TEXTS] + [f"i-{number}" for number in PICTURES]
WORDS = Embedding(SparseVector((1,), (1.0,)))
BEES = Document(id="d", name="bees.md")


@pytest.fixture(params=["embedded", "server"])
def store(request, settings, monkeypatch) -> EmbeddedVectors | ServerVectors:
    if request.param == "server":
        return local_store(settings, monkeypatch)
    return EmbeddedVectors()


def chunks(keys) -> list[tuple[Chunk, Embedding]]:
    return [(Chunk(key=key, text=f"Bees {key}", page=1), WORDS) for key in keys]


def write(store) -> None:
    store.write(BEES, "epoch", chunks(reversed(KEYS)))
    store.write(BEES, "later", chunks(["c-1", "c-4"]))
    store.write(Document(id="e", name="wasps.md"), "epoch", chunks(["c-1", "c-5", "i-2"]))


def refuse(*_: object, **__: object) -> None:
    raise AssertionError


def read(found, offset: int, limit: int) -> list[str]:
    return [payload["chunk"] for payload in found.read(offset, limit)]


def test_each_part_has_its_chunks_in_order_and_no_store_reads_all_keys(store, monkeypatch):
    write(store)
    monkeypatch.setattr(type(store), "chunk_keys", refuse)
    for offset in range(len(KEYS) + 2):
        for limit in (0, 1, 3, 50):
            found = ordered_chunks("d", "epoch")
            assert isinstance(found, ChunksByPosition)
            assert read(found, offset, limit) == KEYS[offset : offset + limit]
            assert found.total == len(KEYS)
    assert [found.place(key) for key in KEYS] == list(range(len(KEYS)))
    assert found.place("c-1") is found.place("i-2") is found.place("c-x") is found.place("") is None


def test_copied_chunks_keep_their_order(store):
    write(store)
    store.adopt("d", "copy", ["epoch"])
    assert read(ordered_chunks("d", "copy"), 1, 50) == KEYS[1:]


def without_position(document, epoch, chunk):
    payload = payload_of(document, epoch, chunk)
    del payload["position"]
    return payload


@pytest.mark.django_db
def test_chunks_of_an_older_version_are_ordered_by_their_keys_until_the_index_is_rebuilt(
    store, monkeypatch
):
    with monkeypatch.context() as patched:
        for module in ("embedded.vectors", "server_vectors"):
            name = f"ingestion_progress.pipeline.stores.{module}.payload_of"
            patched.setattr(name, without_position)
        write(store)
    found = ordered_chunks("d", "epoch")
    assert isinstance(found, ChunksByKey)
    assert read(found, 5, 3) == KEYS[5:8]
    rebuild_search_index()
    found = ordered_chunks("d", "epoch")
    assert isinstance(found, ChunksByPosition)
    assert read(found, 5, 3) == KEYS[5:8]


class OwnVectors:
    """A store with the methods that each has."""

    def __init__(self) -> None:
        vectors = EmbeddedVectors()
        for name in ("count", "chunk_keys", "read"):
            setattr(self, name, getattr(vectors, name))


def test_a_store_without_an_order_is_asked_for_all_keys(settings):
    write(EmbeddedVectors())
    settings.INGESTION_PROGRESS_VECTOR_STORE = f"{__name__}.OwnVectors"
    assert not isinstance(vector_store(), OrderedVectorStore)
    found = ordered_chunks("d", "epoch")
    assert read(found, 6, 2) == KEYS[6:8]
    assert (found.total, found.place("i-4"), found.place("c-1")) == (len(KEYS), 8, None)
    assert ordered_chunks("d", "nothing").read(0, 20) == []


@pytest.mark.parametrize("start", [0, FIRST_PICTURE])
def test_a_deep_place_among_failed_chunks_needs_few_counts(start):
    stored = [start + number for number in range(1, 100_001) if number % 1000 and number > 20]
    asked = []

    def count(first, end):
        asked.append(end - first)
        return sum(first <= each < end for each in stored)

    position = first_position(start, 90_000, count)
    assert next(each for each in stored if each >= position) == stored[90_000]
    assert asked[0] == 90_001
    assert max(asked[1:]) <= 256
    assert len(asked) < 20


def test_a_place_without_failed_chunks_needs_one_count():
    asked = []

    def count(first, end):
        asked.append((first, end))
        return end - 1

    assert first_position(0, 5000, count) == 5001
    assert asked == [(0, 5001)]
