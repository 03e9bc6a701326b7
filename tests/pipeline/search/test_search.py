from __future__ import annotations

import importlib
import io
import re
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from ingestion_progress.models import Job
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.management.commands.search import snippet
from ingestion_progress.pipeline.models import Document, Edition, Entity
from ingestion_progress.pipeline.search import SearchHit, search
from ingestion_progress.pipeline.stores.embedded import vectors
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.tracker import request_cancellation
from tests.support.api import refusal
from tests.support.documents import EXAMPLES, pdf, storage  # noqa: F401

URL = "/api/v1/search"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("storage")]

OLD_EDITIONS = "0009_editions_of_older_documents"


def ingested(data: bytes, name: str) -> str:
    job = receive(io.BytesIO(data), name=name, is_enqueued=False)
    ingest(job.pk)
    return job.document_id


def run(*args: object) -> str:
    out = io.StringIO()
    call_command("search", *args, stdout=out)
    return out.getvalue()


def test_score_has_the_decimal_separator_of_the_language(settings):
    settings.LANGUAGE_CODE = "de"
    ingested(b"Bienen machen Honig.", "bienen.txt")
    assert re.match(r"bienen\.txt  \d,\d\d\n", run("Honig"))


@pytest.mark.database
def test_hit_has_its_place_and_entities():
    document_id = ingested(pdf(4, first=86), "guide.pdf")
    ingested((EXAMPLES / "redis-readme.md").read_bytes(), "redis.md")
    hits = search("span cells of a table style", limit=3)
    assert 1 <= len(hits) <= 3
    best = hits[0]
    assert isinstance(best, SearchHit)
    assert (best.document_id, best.document_name) == (document_id, "guide.pdf")
    assert 1 <= best.page <= 4
    assert "span" in best.text.lower()
    assert best.entities
    assert all(name.lower() in " ".join(best.text.lower().split()) for name in best.entities)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.database
@pytest.mark.parametrize("limit", [1, 1000])
def test_hits_are_limited_to_the_documents_of_jobs(monkeypatch, limit):
    monkeypatch.setattr("ingestion_progress.pipeline.search.MAX_DOCUMENTS", limit)
    mine = ingested(b"Bees like honey. Honey is sweet.", "mine.txt")
    also_mine = ingested(b"Honey is sold here.", "also-mine.txt")
    ingested(b"Honey, honey, honey.", "other.txt")
    found = search("honey", jobs=Job.objects.filter(document_id__in=[mine, also_mine]))
    assert {hit.document_id for hit in found} <= {mine, also_mine}
    assert {hit.document_id for hit in found} == {mine, also_mine} or limit == 1
    assert search("honey", jobs=Job.objects.none()) == []


@pytest.mark.database
@pytest.mark.parametrize("limit", [1, 1000])
def test_hits_are_limited_to_what_jobs_have_written(monkeypatch, limit):
    monkeypatch.setattr("ingestion_progress.pipeline.search.MAX_DOCUMENTS", limit)
    others = {"other": b"Honey is mine.", "second": b"Honey is gone."}
    for name, text in others.items():
        ingested(text, f"{name}.txt")
    uploaded = [receive(io.BytesIO(b"Wasps."), name=f"{name}.txt").pk for name in others]
    for job_id in uploaded:
        request_cancellation(job_id)
    own = Job.objects.filter(pk__in=uploaded)
    assert own.filter(document_id__in=Document.objects.values("pk")).count() == 2
    assert search("honey", jobs=own) == []
    assert len(search("honey", jobs=Job.objects.exclude(pk__in=uploaded))) >= 1
    Edition.objects.update(job_id="")  # of before there were editions
    assert search("honey", jobs=Job.objects.all()) == []
    assert len(search("honey")) == 2


@pytest.mark.database
def test_documents_of_before_there_were_editions_are_those_of_their_last_job():
    for name in ("mine.txt", "other.txt"):
        ingested(b"Bees make honey.", name)
    for edition in Edition.objects.all():
        vectors.EmbeddedVectors().adopt(
            edition.document_id, "", [edition.epoch], lambda chunk: True
        )
    Document.objects.update(published_epoch="")
    Edition.objects.all().delete()
    state = MigrationLoader(None).project_state([("ingestion_pipeline", OLD_EDITIONS)]).apps
    for job in Job.objects.all():
        old_documents = state.get_model("ingestion_pipeline", "Document").objects
        old_documents.filter(pk=job.document_id).update(ingested_by=job.pk)
    mine = Job.objects.filter(document_name="mine.txt")
    assert search("honey", jobs=mine) == []
    migration = importlib.import_module(f"ingestion_progress.pipeline.migrations.{OLD_EDITIONS}")
    for _ in range(2):
        migration.create_editions(state, SimpleNamespace(connection=connection))
    assert [hit.document_name for hit in search("honey", jobs=mine)] == ["mine.txt"]
    new = receive(io.BytesIO(b"Wasps make paper."), name="mine.txt", is_enqueued=False)
    assert len(search("honey", jobs=mine.exclude(pk=new.pk))) == 1
    ingest(new.pk)
    assert search("honey", jobs=mine) == []
    assert len(search("paper", jobs=mine)) == 1
    assert set(Edition.objects.values_list("document__name", "epoch")) == {
        ("other.txt", ""),
        ("mine.txt", Document.objects.get(name="mine.txt").published_epoch),
    }


@pytest.mark.database
def test_hits_have_their_entities_in_the_order_of_creation():
    for name in ("a.txt", "b.txt"):
        ingested(b"Bees and Wasps like Honey.", name)
    for document in Document.objects.all():
        Entity.objects.create(
            document=document,
            epoch=document.published_epoch,
            key="late",
            name="Late",
            evidence=[{"chunk": "c-1", "page": 2}],
        )
        # What stands elsewhere is not read: it could not be.
        Entity.objects.create(
            document=document,
            epoch=document.published_epoch,
            key="other",
            name="Other",
            evidence=[{"page": 1}],
        )
    for hit in search("honey"):
        names = Entity.objects.filter(document_id=hit.document_id).order_by("pk")
        assert hit.entities == [*names.exclude(key="other").values_list("name", flat=True)]
        assert len(hit.entities) > 2


def test_pictures_are_found_by_their_descriptions():
    ingested((EXAMPLES / "mkdocs-getting-started.docx").read_bytes(), "start.docx")
    best = search("picture of the live server")[0]
    assert best.text.startswith("Picture 2 ")
    assert (best.chunk_id, best.page, best.heading) == ("i-2", None, "Creating a new project")


@pytest.mark.parametrize("query", ["", "the of", "zebra", "?" * 5000])
def test_query_without_a_match_has_no_hits(query: str):
    assert search(query) == []
    ingested(b"Bees make honey.", "a.txt")
    assert search(query) == []


def test_limit_is_bounded():
    for number in range(3):
        ingested(b"Bees make honey.", f"{number}.txt")
    assert len(search("honey", limit=2)) == 2
    assert len(search("honey", limit=-5)) == 1
    assert len(search("honey", limit=10**9)) == 3


def test_command_prints_document_page_text_and_entities():
    ingested(pdf(4, first=86), "guide.pdf")
    out = run("table", "span", "--limit", 2)
    first, second, third, *_ = out.splitlines()
    assert first.startswith("guide.pdf, page ")
    assert "span" in second.lower()
    assert third.startswith("  entities: ")
    assert out.count("guide.pdf") == 2


def test_command_prints_the_heading_and_no_empty_fields():
    ingested(b"# Bees\n\nIt is so.", "bees.md")
    assert re.fullmatch(
        r"bees\.md, Bees  \S+\n  # Bees It is so\.\n  entities: Bees\n", run("bees")
    )
    ingested(b"4711", "plain.txt")
    assert re.fullmatch(r"plain\.txt  \S+\n  4711\n", run("4711"))


def test_command_reports_that_nothing_was_found():
    assert run("zebra") == "Nothing was found for “zebra”.\n"


def test_command_refuses_an_invalid_limit():
    with pytest.raises(CommandError, match="from 1 to 100"):
        run("x", "--limit", 0)


def test_command_reports_an_index_in_use(monkeypatch):
    monkeypatch.setattr(vectors, "READ_TIMEOUT_SECONDS", 0)
    with pytest.raises(CommandError, match="in use by another process"):
        run("honey")


def test_command_reports_a_damaged_index(storage):  # noqa: F811
    shard = storage / "qdrant" / "shards" / "chunks"
    shard.mkdir(parents=True)
    (shard / "edge_config.json").write_bytes(b"no configuration" * 1000)
    with pytest.raises(CommandError, match=r"^The search index cannot be used\. Its files may"):
        run("honey")


def test_snippet_shows_the_text_around_the_first_word():
    text = "start " + "x " * 300 + "honey " + "y " * 300
    part = snippet(text, "the honey")
    assert part.startswith("…x")
    assert part.endswith("…")
    assert "honey" in part
    assert len(part) <= 302
    assert snippet("a\n short  text", "zebra") == "a short text"


def test_command_prints_no_control_character_of_a_document():
    ingested(b"Bees \x1b]0;owned\x07 make honey.\x9b31m", "bees.txt")

    printed = run("honey")

    assert "honey" in printed
    assert not [each for each in printed if not (each.isprintable() or each == "\n")]


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
