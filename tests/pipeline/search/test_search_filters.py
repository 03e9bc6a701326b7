"""What a search leaves out, and what it marks."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from ingestion_progress.models import Job
from ingestion_progress.pipeline import search as search_module
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.search.filters import SearchFilters
from ingestion_progress.pipeline.search.highlights import Highlighter, marked
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.testing import synchronous_tracking
from tests.support.api import refusal
from tests.support.documents import pdf, storage  # noqa: F401

URL = "/api/v1/search"
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("storage"),
    pytest.mark.database,
]


def ingested(data: bytes, name: str, **options) -> str:
    job = receive(io.BytesIO(data), name=name, is_enqueued=False, **options)
    with synchronous_tracking():
        ingest(job.pk)
    return job.document_id


@pytest.fixture
def documents() -> SimpleNamespace:
    legal = {"team": "legal", "year": 2024, "is_final": True}
    return SimpleNamespace(
        a=ingested(b"Bees make honey.", "a.txt", batch="import", metadata=legal),
        b=ingested(b"# Bees\n\nHoney is sweet.", "b.md", batch="import", metadata={"team": "x"}),
        c=ingested(b"Honey for tea.", "c.txt", metadata={"year": "2024"}),
    )


def names(**filters) -> list[str]:
    return sorted(hit.document_name for hit in search("honey", filters=SearchFilters(**filters)))


@pytest.mark.parametrize("most", [1, 1000])
def test_hits_match_all_filters(documents, monkeypatch, most):
    monkeypatch.setattr(search_module, "MAX_DOCUMENTS", most)  # 1: the best matches are filtered
    assert names() == ["a.txt", "b.md", "c.txt"]
    assert names(documents=[documents.a, documents.c, "nobody"]) == ["a.txt", "c.txt"]
    assert names(batch="import") == ["a.txt", "b.md"]
    assert names(media_types=["text/plain"]) == ["a.txt", "c.txt"]
    assert names(media_types=["text/plain", "text/markdown"], batch="import") == ["a.txt", "b.md"]
    assert names(documents=["nobody"]) == names(batch="nothing") == []


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([("team", "legal")], ["a.txt"]),
        ([("year", "2024")], ["a.txt", "c.txt"]),
        ([("year", "2024"), ("team", "legal")], ["a.txt"]),
        ([("is_final", "true")], ["a.txt"]),
        ([("team__contains", "leg")], []),
        ([("team", "LEGAL")], []),
        ([("nothing", "null")], []),
    ],
)
def test_metadata_is_compared_by_value(documents, pairs, found):
    assert names(metadata=pairs) == found


def test_filters_find_only_what_visible_jobs_have_written(documents):
    jobs = Job.objects.filter(document_id=documents.a)
    for filters in (SearchFilters(batch="import"), SearchFilters(media_types=["text/plain"])):
        hits = search("honey", filters=filters, jobs=jobs)
        assert [hit.document_id for hit in hits] == [documents.a]
    assert search("honey", filters=SearchFilters(documents=[documents.c]), jobs=jobs) == []


def test_pages_are_filtered_in_the_store():
    ingested(pdf(4, first=86), "guide.pdf")
    everything = search("table style", limit=100)
    pages = {hit.page for hit in everything}
    assert len(pages) > 1
    for page in pages:
        hits = search("table style", limit=100, filters=SearchFilters(pages=[page]))
        assert {hit.page for hit in hits} == {page}
    assert search("table style", filters=SearchFilters(pages=[99])) == []


def test_offset_continues_where_the_limit_ended():
    for number in range(5):
        ingested(b"Honey. " * (number + 1), f"{number}.txt")
    everything = [hit.document_name for hit in search("honey", limit=5)]
    parts = [search("honey", limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [hit.document_name for part in parts for hit in part] == everything
    assert [len(part) for part in parts] == [2, 2, 1, 0]


def test_hit_has_marked_text_and_relations(client):
    ingested(b"Ada Lovelace met Charles Babbage. <b>Babbages'</b> & engines.", "a.txt")
    (hit,) = client.get(URL, {"q": "babbage <engine>"}).json()["items"]
    words = [hit["text"][span["start"] : span["end"]] for span in hit["highlights"]]
    assert words == ["Babbage", "Babbages", "engines"]
    assert "<mark>engines</mark>" in hit["html"]
    assert "&lt;b&gt;<mark>Babbages</mark>&#x27;&lt;/b&gt; &amp;" in hit["html"]
    names = set(hit["entities"])
    assert hit["relations"]
    assert all({each["source"], each["target"]} <= names for each in hit["relations"])


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("honey", "Honey, honeys and honeycomb", ["Honey", "honeys"]),
        ("foret", "no match", []),
        ("forêt", "La fore\u0302t.", ["fore\u0302t"]),
        ("internal", "in\u00adternal affairs", ["in\u00adternal"]),
        ("snake", "snake_case", ["snake"]),
        ("灯塔", "港口的灯塔很高。", ["灯塔"]),
        ("港口委员会", "港口委员会在此", ["港口委员会"]),
        ("efficient", "an efﬁcient ﬁlter", ["efﬁcient"]),
        ("the", "the end", []),
    ],
)
def test_highlights_are_what_the_search_matches(query, text, found):
    spans = Highlighter(query, Bm25Embedder()).spans(text)
    assert [text[start:end] for start, end in spans] == found
    assert marked(text, spans).count("<mark>") == len(found)


def test_all_filters_are_parameters(client, documents):
    def found(**query):
        items = client.get(URL, {"q": "honey", **query}).json()["items"]
        return sorted(item["document_name"] for item in items)

    assert found(document=[documents.a, documents.b]) == ["a.txt", "b.md"]
    assert found(batch="import", media_type="text/plain") == ["a.txt"]
    assert found(metadata=["team:legal", "year:2024"]) == ["a.txt"]
    assert found(page=[1, 2]) == []
    assert len(found(limit=2)) == 2
    assert len(found(limit=2, offset=2)) == 1


@pytest.mark.parametrize(
    "query",
    [
        *("page=0", "page=x", "offset=1001", "offset=-1", "metadata=team", "metadata=:x"),
        *("document=", "batch=a/b", f"media_type={'x' * 256}", "page=1&" * 51),
        *("document=a%00b", "page=99999999999999999999"),
    ],
)
def test_wrong_filters_are_refused(client, query):
    refusal(client.get(f"{URL}?q=honey&{query.rstrip('&')}"), 422, "invalid_request")


def test_unknown_parameters_are_refused_with_the_names_of_the_known_ones(client):
    error = refusal(client.get(f"{URL}?q=honey&documents=a&lang=en"), 422, "invalid_request")
    assert error.message == (
        "There is no parameter “documents”. There are: batch, dense_weight, document, language, "
        "limit, media_type, metadata, offset, page, q."
    )
    assert [entry.field for entry in error.errors] == ["documents", "lang"]


def test_command_has_the_same_filters_and_prints_json(documents):
    def run(*args: str) -> list[str]:
        out = io.StringIO()
        call_command("search", "honey", "--json", *args, stdout=out)
        return sorted(hit["document_name"] for hit in json.loads(out.getvalue()))

    assert run() == ["a.txt", "b.md", "c.txt"]
    assert run("--document", documents.a) == ["a.txt"]
    assert run("--batch", "import", "--type", "text/plain") == ["a.txt"]
    assert run("--metadata", "team:legal") == ["a.txt"]
    assert run("--page", "1") == []
    assert len(run("--limit", "2", "--offset", "2")) == 1
    for wrong in (["--metadata", "team"], ["--offset", "1001"], ["--limit", "0"]):
        with pytest.raises(CommandError):
            run(*wrong)


def test_languages_are_filtered_in_the_store(client):
    ingested(b"Die Lampen am Hafen leuchten nachts im Nebel.", "de.txt")
    ingested(b"The lamps of the harbour of Hafen shine at night in the fog.", "en.txt")

    def found(**query):
        items = client.get(URL, {"q": "Hafen", **query}).json()["items"]
        return sorted((item["document_name"], item["language"]) for item in items)

    assert found() == [("de.txt", "de"), ("en.txt", "en")]
    assert found(language="de") == [("de.txt", "de")]
    assert found(language=["de", "en,fr"]) == found()
    assert found(language="fr") == []
    out = io.StringIO()
    call_command("search", "Hafen", "--language", "en", "--json", stdout=out)
    assert [each["language"] for each in json.loads(out.getvalue())] == ["en"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("language", "german"), ("language", "DE"), ("dense_weight", "1.1"), ("dense_weight", "-1")],
)
def test_invalid_languages_and_weights_are_named(client, name, value):
    error = refusal(client.get(URL, {"q": "x", name: value}), 422, "invalid_request")
    assert error.errors[0].field.startswith(name)
    option = f"--{name.replace('_', '-')}"
    with pytest.raises(CommandError, match=option):
        call_command("search", "x", f"{option}={value}")
