"""Models that run in the process, without a network."""

from __future__ import annotations

import json
import shutil
import socket

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from ingestion_progress.pipeline.checks import check_fastembed
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.search.rebuild import rebuild_search_index
from ingestion_progress.pipeline.stages.local_embedders import FastEmbedEmbedder, WordLlamaEmbedder
from tests.pipeline.search.test_search import ingested
from tests.support.documents import storage  # noqa: F401
from tests.support.live import ROOT

MODELS = ROOT / "tests" / "support" / "models"
LOCAL = "ingestion_progress.pipeline.stages.local_embedders"


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
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = f"{LOCAL}.WordLlamaEmbedder"
    assert rebuild_search_index() == 3
    assert search("ships on the ocean")[0].document_name == "sea.txt"
    assert search("a canine animal", dense_weight=1)[0].document_name == "dog.txt"


@pytest.fixture
def model(tmp_path, settings):
    """A folder as fastembed has it, of a model that adds up the vectors of seven words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "honey", "syrup", "engine", "tax"]
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    limits = {"model_max_length": 64, "pad_token": "[PAD]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(limits))
    (tmp_path / "config.json").write_text('{"pad_token_id": 0}')
    shutil.copy(MODELS / "words.onnx", tmp_path / "model_optimized.onnx")
    settings.INGESTION_PROGRESS_FASTEMBED_PATH = str(tmp_path)


@pytest.mark.usefixtures("no_network", "model")
def test_fastembed_reads_a_model_of_a_folder():
    embedder = FastEmbedEmbedder()
    assert embedder.name == "fastembed-BAAI/bge-small-en-v1.5"
    honey, syrup, engine = embedder.embed(["much honey", "syrup", "engine \ud800"])
    assert cosine(honey, syrup) > 0.9
    assert cosine(honey, engine) == pytest.approx(0)
    assert cosine(honey, embedder.embed_query("honey honey")) == pytest.approx(1)


@pytest.mark.usefixtures("no_network")
def test_fastembed_without_its_folder_is_an_error(settings, tmp_path):
    assert list(check_fastembed()) == []
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = f"{LOCAL}.FastEmbedEmbedder"
    assert [each.id for each in check_fastembed()] == ["ingestion_pipeline.E013"]
    with pytest.raises(ValueError, match="FASTEMBED_PATH is not set"):
        FastEmbedEmbedder()
    settings.INGESTION_PROGRESS_FASTEMBED_PATH = str(tmp_path)
    assert list(check_fastembed()) == []
    with pytest.raises(Exception, match=r"tokenizer|onnx|File"):
        FastEmbedEmbedder()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage", "model")
def test_search_with_fastembed(settings, tmp_path):
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = f"{LOCAL}.FastEmbedEmbedder"
    ingested(b"Maple syrup is sweet.", "syrup.txt")
    ingested(b"A steam engine is loud.", "engine.txt")
    assert search("honey")[0].document_name == "syrup.txt"
