"""The parameters of the search; tests/api/test_live.py tests its hits with real processes."""

from __future__ import annotations

import pytest

from tests.support.api import refusal

pytestmark = pytest.mark.django_db
URL = "/api/v1/search"


@pytest.fixture(autouse=True)
def _own_store(settings, tmp_path):
    settings.INGESTION_PROGRESS_QDRANT_PATH = tmp_path / "qdrant"


def test_search_without_documents_finds_nothing(client):
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
def test_unusual_queries_are_valid(client, q):
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
def test_invalid_parameters_are_named(client, query, field):
    response = client.get(URL, query)
    error = refusal(response, 422, "invalid_request")
    assert [entry.field for entry in error.errors] == [field]


def test_anonymous_user_cannot_search_a_closed_site(client, settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    response = client.get(URL, {"q": "compiler"})
    refusal(response, 401, "unauthorized")


def test_unreachable_store_is_unavailable(client, settings):
    settings.INGESTION_PROGRESS_QDRANT_URL = "http://127.0.0.1:9"  # nobody listens there
    response = client.get(URL, {"q": "compiler"})
    refusal(response, 503, "unavailable")
