from __future__ import annotations

import pytest

from ingestion_progress.pipeline.stages.embedding import STOPWORDS, Bm25Embedder

TEXT = (
    "Running runners ran: the user's café isn't 3.14 under_score _ __ naïve—dash. Don't! "
    "ŁÓDŹ " + "x" * 41
)
# The ids that fastembed 0.9.1 returns (`Bm25("Qdrant/bm25", specific_model_path=...)`).
FASTEMBED = {
    243905464, 946033505, 567658162, 1785447155, 605818632, 264741300,
    1749031367, 1233132890, 215691602, 756638508, 975794929, 590522016,
}  # fmt: skip


def test_ids_and_weights_are_those_of_fastembed():
    vector = Bm25Embedder().embed(TEXT)
    assert set(vector.indices) == FASTEMBED
    assert vector.values == pytest.approx([2.2 / (1 + 1.2 * (0.25 + 0.75 * 12 / 256))] * 12)


def test_repeated_word_weighs_more_but_not_twice_as_much():
    embedder = Bm25Embedder()
    once, twice = (embedder.embed(text).values[0] for text in ("honey", "honey honey"))
    assert once < twice < 2 * once


def test_query_matches_other_forms_of_a_word():
    embedder = Bm25Embedder()
    assert embedder.embed_query("Bees RUNNING") == embedder.embed_query("run bee, bee!")
    assert set(embedder.embed_query("runs").indices) <= set(
        embedder.embed("He was running").indices
    )


@pytest.mark.parametrize("text", ["", " ", "the of and", "?!", "_", "y" * 41])
def test_stop_words_and_symbols_have_an_empty_vector(text: str):
    assert Bm25Embedder().embed(text).indices == ()
    assert Bm25Embedder().embed_query(text).indices == ()


def test_stop_words_are_the_179_of_nltk():
    assert len(STOPWORDS) == 179
