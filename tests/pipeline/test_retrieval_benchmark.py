"""The labelled passages of `benchmarks/retrieval_set/`, and how many of them searches find."""

from __future__ import annotations

import pytest

from benchmarks.retrieval import FOLDER, LANGUAGES, Measured, figures, lines, ways
from tests.support.documents import storage  # noqa: F401


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_query_names_a_passage(language):
    texts, queries = lines(language)
    assert len(texts) == 144
    assert len(queries) >= 20
    assert set(queries.values()) <= set(texts)
    assert set(texts) == set(lines("en")[0])


def test_set_is_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 600_000


def test_figures_are_recall_and_discounted_gain():
    assert figures([1, 0, 3, 7]) == {"recall_at_5": 0.5, "ndcg_at_10": 0.458}


@pytest.mark.once
@pytest.mark.usefixtures("storage")
def test_searches_find_what_the_docs_say():
    way = next(each for each in ways() if each.name == "languages")
    index = Measured(way)
    for language in LANGUAGES:
        found = figures(index.ranks(language))
        assert found["recall_at_5"] >= 0.95, (language, found)
        assert found["ndcg_at_10"] >= 0.92, (language, found)
