"""Dense vectors beside words: in the stores, in ingestion, search and rebuild."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ingestion_progress.models import Job
from ingestion_progress.pipeline import components
from ingestion_progress.pipeline.checks import check_dense_weight
from ingestion_progress.pipeline.exceptions import VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.search.rebuild import rebuild_search_index
from ingestion_progress.pipeline.stages import Chunk, DenseVector, Embedding, SparseVector
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from tests.pipeline.search.test_search import ingested
from tests.support.documents import storage  # noqa: F401
from tests.support.qdrant import local_store

pytestmark = pytest.mark.usefixtures("storage")

NOTHING = SparseVector((), ())
MEANINGS = {"honey": (1.0, 0.0), "syrup": (0.9, 0.1), "engine": (0.0, 1.0)}


class MeaningEmbedder:
    """Knows three words."""

    name = "meaning-1"
    batches: Sequence[Sequence[str]] = ()

    def embed(self, texts):
        type(self).batches = [*self.batches, texts]
        if any("poison" in text for text in texts):
            raise ValueError("poison")
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text):
        found = [vector for word, vector in MEANINGS.items() if word in text.casefold()]
        return found[0] if found else (0.0, 0.0)


class OtherEmbedder(MeaningEmbedder):
    name = "meaning-2"


class LongerEmbedder(MeaningEmbedder):
    def embed_query(self, text):
        return (*super().embed_query(text), 0.0)


class BrokenEmbedder(MeaningEmbedder):
    def embed_query(self, text):
        raise ConnectionError("The model is away.")


@pytest.fixture(autouse=True)
def fresh():
    MeaningEmbedder.batches = ()
    yield
    components._shared.cache_clear()


@pytest.fixture(params=["embedded", "server"])
def store(request, settings, monkeypatch):
    if request.param == "embedded":
        return EmbeddedVectors()
    return local_store(settings, monkeypatch)


def embedding(words: Sequence[int] = (), meaning: Sequence[float] = (), model: str = "m"):
    sparse = SparseVector(tuple(words), (1.0,) * len(words))
    return Embedding(sparse, DenseVector(model, meaning) if meaning else None)


def write(store, *embeddings: Embedding, document_id: str = "d", language: str = "en") -> None:
    chunks = [
        (Chunk(key=f"c-{number}", text=f"text {number}", page=number, language=language), each)
        for number, each in enumerate(embeddings, start=1)
    ]
    store.write(Document(id=document_id, name="bees.md"), "epoch", chunks)


def keys(matches) -> list[str]:
    return [match.payload["chunk"] for match in matches]


def test_ranks_by_words_and_by_meaning_are_fused_by_weight(store):
    write(store, embedding([1], [0.9, 0.1]), embedding([1, 3], [0, 1]), embedding([2]))
    words, meaning = embedding([1]), embedding((), [1, 0])
    assert set(keys(store.search(words, 10))) == {"c-1", "c-2"}
    assert keys(store.search(meaning, 10)) == ["c-1", "c-2"]
    both = embedding([2], [0, 1])
    by_words = keys(store.search(both, 10, dense_weight=0.1))
    by_meaning = keys(store.search(both, 10, dense_weight=0.9))
    assert set(by_words) == set(by_meaning) == {"c-1", "c-2", "c-3"}
    assert (by_words[0], by_meaning[0]) == ("c-3", "c-2")
    fused = store.search(embedding([3], [0, 1]), 1)
    assert keys(fused) == ["c-2"]
    alone = store.search(embedding([3]), 1)
    assert (keys(alone), alone[0].score > fused[0].score) == (["c-2"], True)


def test_filters_hold_for_both_queries(store):
    for document_id, language in (("d", "en"), ("e", "de")):
        pair = [embedding([1], [1, 0])] * 2
        write(store, *pair, document_id=document_id, language=language)
    query = embedding([1], [1, 0])

    def found(**filters):
        matches = store.search(query, 10, **filters)
        return sorted((match.payload["document_id"], match.payload["page"]) for match in matches)

    assert len(found()) == 4
    assert found(documents=["d"], pages=[2]) == [("d", 2)]
    assert found(languages=["de", "fr"]) == [("e", 1), ("e", 2)]
    assert found(hidden=[("d", "epoch")]) == [("e", 1), ("e", 2)]
    store.adopt("d", "next", ["epoch"])
    store.discard("d", "epoch")
    assert found(documents=["d"]) == [("d", 1), ("d", 2)]


def test_vectors_of_another_model_are_not_compared(store):
    write(store, embedding([1], [1, 0]), embedding([1]))
    assert keys(store.search(embedding((), [1, 0, 0], model="other"), 10)) == []
    assert len(store.search(embedding([1], [1, 0, 0], model="other"), 10)) == 2
    ((key, _), (other, _)) = next(iter(store.stored()))

    def changed(chunks):
        news = embedding([1], [0, 1, 0], model="other"), embedding([1])
        return [(news[each != key], "de") for each, _payload in chunks]

    store.rewrite(changed)
    (hit,) = store.search(embedding((), [0, 1, 0], model="other"), 10)
    assert hit.payload["language"] == "de"
    assert store.count("d") == 2
    assert other != key


def test_vectors_of_another_length_are_an_error_with_a_remedy():
    write(EmbeddedVectors(), embedding([1], [1, 0]))
    for _ in range(2):
        with pytest.raises(VectorStoreUnavailable, match="another length"):
            write(EmbeddedVectors(), embedding([1], [1, 0, 0]))
    with pytest.raises(VectorStoreUnavailable, match="another length"):
        EmbeddedVectors().search(embedding((), [1, 0, 0]), 10)
    assert EmbeddedVectors().count("d") == 1


@pytest.mark.django_db(transaction=True)
def test_search_finds_by_meaning_what_has_none_of_the_words(settings):
    for name, text in [("a", "Bees make honey."), ("b", "A steam engine."), ("c", "Maple syrup.")]:
        ingested(text.encode(), f"{name}.txt")
    assert [hit.document_name for hit in search("honey")] == ["a.txt"]
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = f"{__name__}.MeaningEmbedder"
    assert rebuild_search_index() == 3
    assert [len(batch) for batch in MeaningEmbedder.batches] == [3]
    assert [hit.document_name for hit in search("honey")][:2] == ["a.txt", "c.txt"]
    assert [hit.document_name for hit in search("honey", dense_weight=0)] == ["a.txt"]
    (best, *_) = search("make engine", dense_weight=1)
    assert best.document_name == "b.txt"
    assert best.html == "A steam <mark>engine</mark>."
    settings.INGESTION_PROGRESS_DENSE_WEIGHT = 0.0
    assert [hit.document_name for hit in search("honey")] == ["a.txt"]
    settings.INGESTION_PROGRESS_DENSE_WEIGHT = 0.5
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = f"{__name__}.OtherEmbedder"
    assert [hit.document_name for hit in search("honey")] == ["a.txt"]
    rebuild_search_index()
    assert [hit.document_name for hit in search("honey")][:2] == ["a.txt", "c.txt"]


def test_weight_is_checked(settings):
    assert list(check_dense_weight()) == []
    settings.INGESTION_PROGRESS_DENSE_WEIGHT = 1.5
    (error,) = check_dense_weight()
    assert error.id == "ingestion_pipeline.E007"


@pytest.mark.django_db(transaction=True)
def test_words_are_searched_while_the_model_fails(settings):
    ingested(b"Bees make honey.", "a.txt")
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = f"{__name__}.BrokenEmbedder"
    assert [hit.document_name for hit in search("honey")] == ["a.txt"]
    with pytest.raises(ConnectionError):
        search("honey", dense_weight=1)


@pytest.mark.django_db(transaction=True)
def test_chunk_that_cannot_be_embedded_costs_itself(settings):
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = f"{__name__}.MeaningEmbedder"
    settings.INGESTION_PROGRESS_CHUNK_CHARACTERS = 100
    parts = [f"Part {number} about honey and its taste in tea. " * 2 for number in range(5)]
    parts[2] = "The third part has poison in it and cannot be embedded by the model. "
    ingested("\n\n".join(parts).encode(), "a.txt")
    job = Job.objects.get()
    stage = job.stages.get(name="embedding")
    assert (job.status, stage.failed) == ("succeeded", 1)
    assert stage.processed == job.total_chunks == job.qdrant_writes + 1 >= 4
    assert not [hit for hit in search("honey") if "poison" in hit.text]
