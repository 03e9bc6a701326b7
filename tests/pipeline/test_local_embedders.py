"""Models that run in the process, without a network."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from ingestion_progress.pipeline.rebuild import rebuild_search_index
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.stages.local_embedders import WordLlamaEmbedder
from tests.pipeline.test_search import ingested
from tests.support.documents import storage  # noqa: F401


@pytest.fixture
def no_network(monkeypatch):
    def refused(*args: object) -> None:
        raise AssertionError("A connection was opened.")

    monkeypatch.setattr(socket.socket, "connect", refused)


def cosine(one, other) -> float:
    return float(np.dot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other)))


@pytest.mark.usefixtures("no_network")
def test_wordllama_compares_meanings_offline():
    embedder = WordLlamaEmbedder()
    dog, canine, tax = embedder.embed(["A dog bit a man.", "A canine hurt people.", "Tax law"])
    assert len(dog) == 256
    assert cosine(dog, canine) > cosine(dog, tax) + 0.1
    assert cosine(dog, embedder.embed_query("A dog bit a man.")) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("text", ["", "\ud800", "\n", "猫"])
def test_every_text_has_a_finite_vector(text):
    assert np.isfinite(WordLlamaEmbedder().embed([text, "more words than that"])).all()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
def test_search_finds_other_words_of_the_same_meaning(settings):
    for name, text in [
        ("dog", "The puppy barked at the postman."),
        ("tax", "Income above this amount is taxed."),
        ("sea", "Boats sail from the harbour."),
    ]:
        ingested(text.encode(), f"{name}.txt")
    assert search("ships on the ocean") == []
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = (
        "ingestion_progress.pipeline.stages.local_embedders.WordLlamaEmbedder"
    )
    assert rebuild_search_index() == 3
    assert search("ships on the ocean")[0].document_name == "sea.txt"
    assert search("a canine animal", dense_weight=1)[0].document_name == "dog.txt"
