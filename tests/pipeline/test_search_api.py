"""The search's parameters; what it finds is shown with real processes in `test_api_live`."""

from __future__ import annotations

import pytest

from tests.support.api import refusal

pytestmark = pytest.mark.django_db
URL = "/api/v1/search"


@pytest.fixture(autouse=True)
def _own_store(settings, tmp_path):
    settings.INGESTION_PROGRESS_QDRANT_PATH = tmp_path / "qdrant"


def test_nothing_is_found_where_nothing_was_ingested(client):
    response = client.get(URL, {"q": "  compiler  "})
    assert response.status_code == 200, response.content
    assert response.json() == {"query": "compiler", "items": []}


@pytest.mark.parametrize(
    "q",
    [
        *("😀", "the", "' OR 1=1", "*", "%", "a" * 200, "Ωμέγα", "*?[]{}()"),
        "می\u200cخواهم",  # a joiner that is not printable, and part of the word
        "copied\u00a0text",  # a space that does not break
    ],
)
def test_odd_words_are_only_words(client, q):
    assert client.get(URL, {"q": q}).json() == {"query": q, "items": []}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "q"),
        ({"q": ""}, "q"),
        ({"q": "   "}, "q"),
        ({"q": "a" * 201}, "q"),
        ({"q": "\u00a0\u2028"}, "q"),
        ({"q": "a\x00b"}, "q"),
        ({"q": "a\nb"}, "q"),
        ({"q": "a", "limit": "0"}, "limit"),
        ({"q": "a", "limit": "101"}, "limit"),
        ({"q": "a", "limit": "x"}, "limit"),
    ],
)
def test_impossible_parameters_are_named(client, query, field):
    response = client.get(URL, query)
    error = refusal(response, 422, "invalid_request")
    assert [entry.field for entry in error.errors] == [field]


def test_stranger_finds_nothing_on_a_closed_site(client, settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    response = client.get(URL, {"q": "compiler"})
    refusal(response, 401, "unauthorized")


def test_store_that_is_away_is_unavailable(client, settings):
    settings.INGESTION_PROGRESS_QDRANT_URL = "http://127.0.0.1:9"  # nobody listens there
    response = client.get(URL, {"q": "compiler"})
    refusal(response, 503, "unavailable")
