from __future__ import annotations

import pytest

from ingestion_progress.pipeline.stages.embedding import Bm25Embedder

TEXT = "Running runners ran: the user's café isn't 3.14 naïve—dash. Don't! ŁÓDŹ"
# The ids that fastembed 0.9.1 returns (`Bm25("Qdrant/bm25", specific_model_path=...)`).
FASTEMBED = {
    243905464, 946033505, 567658162, 1785447155, 605818632, 264741300,
    1749031367, 756638508, 975794929, 590522016,
}  # fmt: skip


def is_found(query: str, text: str) -> bool:
    """Are all words of the query among those of the text?"""
    words = set(Bm25Embedder().embed_query(query).indices)
    return bool(words) and words <= set(Bm25Embedder().embed(text).indices)


def test_ids_and_weights_are_those_of_fastembed():
    vector = Bm25Embedder().embed(TEXT)
    assert set(vector.indices) == FASTEMBED
    assert vector.values == pytest.approx([2.2 / (1 + 1.2 * (0.25 + 0.75 * 10 / 256))] * 10)


def test_repeated_word_weighs_more_but_not_twice_as_much():
    embedder = Bm25Embedder()
    once, twice = (embedder.embed(text).values[0] for text in ("honey", "honey honey"))
    assert once < twice < 2 * once


def test_query_matches_other_forms_of_a_word():
    embedder = Bm25Embedder()
    forms = (embedder.embed_query(text).indices for text in ("Bees RUNNING", "run bee, bee!"))
    assert len({frozenset(indices) for indices in forms}) == 1
    assert is_found("runs", "He was running")


@pytest.mark.parametrize("text", ["", " ", "the of and", "?!", "_", "\u200b"])
def test_stop_words_and_symbols_have_an_empty_vector(text: str):
    assert Bm25Embedder().embed(text).indices == ()
    assert Bm25Embedder().embed_query(text).indices == ()


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("forêt", "La fore\u0302t"),
        ("forêt", "La FORÊT"),
        ("efficient filters", "e\ufb03cient \ufb01lters"),
        ("Hauptstrasse", "die HAUPTSTRAẞE"),
        ("istanbul", "İstanbul"),
        ("Nuthatch", "nut\u00adhatch nut\u200bhatch"),
        ("ABC", "ＡＢＣ"),
        ("cache_path", "def cache_path():"),
        ("path", "def cache_path():"),
        ("ab12" * 16, f"sha256:{'ab12' * 16}"),
    ],
)
def test_every_spelling_of_a_word_is_found(query: str, text: str):
    assert is_found(query, text)


@pytest.mark.parametrize(
    ("queries", "text"),
    [
        ("灯塔 港口 委员会 港口委员会 新", "灯塔的港口委员会批准了新的规则。"),
        ("灯台 委員会 管理 港 コーヒー", "灯台は港の委員会が管理し、コーヒーを出します。"),
        ("ประภาคาร ท่าเรือ คณะกรรมการ", "ประภาคารของคณะกรรมการท่าเรือ"),
        ("등대 항구 위원회", "항구위원회는 등대를 관리한다"),
        ("маяк", "Старый маяк у моря"),
    ],
)
def test_words_of_scripts_without_spaces_are_found(queries: str, text: str):
    assert [query for query in queries.split() if not is_found(query, text)] == []
    assert not is_found("鯨", text)


def test_lone_surrogate_costs_itself():
    assert is_found("honey", "honey \ud800")
