"""The page that searches: passages, filters, access, and each of its states."""

from __future__ import annotations

import io
import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from ingestion_progress.models import Batch, Job
from ingestion_progress.pipeline.exceptions import ModelUnavailable
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.search import HighlightSchema, SearchHit
from ingestion_progress.pipeline.search import page as module
from ingestion_progress.pipeline.uploads.receive import receive
from tests.support.documents import storage  # noqa: F401
from tests.support.page_jobs import text_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("storage")]

SEARCH = reverse("ingestion_progress:search")


def ingested(name: str, text: str, **fields) -> Job:
    job = receive(io.BytesIO(text.encode()), name=name, is_enqueued=False, **fields)
    ingest(job.pk)
    return job


def page_of(client, status: int = 200, **query) -> str:
    response = client.get(SEARCH, query)
    assert response.status_code == status
    return response.content.decode()


def names_of(html: str) -> list[str]:
    found = re.findall(r'class="hit-document" href="[^"]*"><bdi>(.*?)</bdi>', html)
    return [unescape(name) for name in found]


def test_passage_has_its_document_section_matches_entities_and_a_link_to_its_place(client):
    ingested("bees.md", "# Winter\n\nThe Apis Mellifera society stores honey. Bees make honey.")
    html = page_of(client, q="bee")
    assert names_of(html) == ["bees.md"]
    assert "<mark>Bees</mark> make honey." in html
    assert '<span class="hit-heading"><bdi>Winter</bdi></span>' in html
    assert 'class="entity"' in html
    link = unescape(re.search(r'class="hit-document" href="([^"]*)"', html)[1])
    assert urlsplit(link).fragment == "c-1"
    assert f'id="{urlsplit(link).fragment}"' in text_of(client, link)
    assert "Passage 1, best first" in html


def test_page_without_words_asks_for_some_and_says_whether_there_is_a_document(client):
    assert "No document is searchable yet." in page_of(client)
    assert "No document is searchable yet." in page_of(client, q="bees")
    ingested("bees.txt", "Bees make honey.")
    for query in ({}, {"q": " "}, {"unknown": "1"}):
        html = page_of(client, **query)
        assert "What are you looking for?" in html
        assert names_of(html) == []


def test_nothing_found_offers_what_might_help(client):
    ingested("bees.txt", "Bees make honey.")
    assert "Try fewer or other words." in page_of(client, q="zzyzx")
    html = page_of(client, q="bees", media_type="application/pdf")
    assert "Nothing found for “<bdi>bees</bdi>”." in html
    assert f'<a href="{SEARCH}?q=bees">Search all documents</a>' in html


def test_filters_by_document_batch_and_type(client):
    bees = ingested("bees.txt", "Bees make honey.", batch="hive", batch_name="The hive")
    wasps = ingested("wasps.md", "Wasps make no honey.")
    assert sorted(names_of(page_of(client, q="honey"))) == ["bees.txt", "wasps.md"]
    assert names_of(page_of(client, q="honey", media_type="text/markdown")) == ["wasps.md"]
    html = page_of(client, q="honey", batch="hive")
    assert names_of(html) == ["bees.txt"]
    assert f'<option value="hive" selected>{Batch.objects.get()}</option>' in html
    html = page_of(client, q="honey", document=wasps.document_id)
    assert names_of(html) == ["wasps.md"]
    assert f'value="{wasps.document_id}" checked> <span>Only <bdi>wasps.md</bdi>' in html
    assert "Only this document" not in html
    both = page_of(client, q="honey", document=[wasps.document_id, bees.document_id])
    assert sorted(names_of(both)) == ["bees.txt", "wasps.md"]


def test_type_is_selected_only_if_it_is_the_chosen_one(client):
    html = page_of(client, q="a", media_type="application/jsonl")
    assert re.findall(r'<option value="([^"]+)" selected>', html) == ["application/jsonl"]


def test_pages_of_matches_follow_each_other(client):
    for number in range(13):
        ingested(f"{number}.txt", f"Honey of the apiary number {number}.")
    first = page_of(client, q="honey", media_type="text/plain")
    later = unescape(re.search(r'rel="next" href="([^"]*)"', first)[1])
    assert parse_qs(urlsplit(later).query) == {
        "q": ["honey"],
        "media_type": ["text/plain"],
        "offset": ["10"],
    }
    second = text_of(client, later)
    assert "Passages 11 to 13" in second
    assert len({*names_of(first), *names_of(second)}) == 13
    earlier = unescape(re.search(r'rel="prev" href="([^"]*)"', second)[1])
    assert names_of(text_of(client, earlier)) == names_of(first)
    assert "No more passages." in page_of(client, q="honey", offset="500")


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"q": "x" * 201}, "The words:"),
        ({"q": "\x00"}, "The words:"),
        ({"q": "a", "offset": "1001"}, "offset:"),
        ({"q": "a", "offset": "-1"}, "offset:"),
        ({"q": "a", "offset": "many"}, "offset:"),
        ({"q": "a", "document": ["d"] * 51}, "document:"),
        ({"q": "a", "document": "\x00"}, "document:"),
        ({"q": "a", "batch": "/"}, "batch:"),
        ({"q": "a", "media_type": "x" * 300}, "The type:"),
    ],
)
def test_hostile_query_is_refused_with_a_sentence(client, query, problem):
    html = page_of(client, 400, **query)
    assert "This cannot be searched." in html
    assert f"<p><bdi>{problem}" in html


def test_texts_of_documents_and_queries_are_escaped(client):
    hostile = "<script>alert(1)</script>"
    ingested("<b>.txt", f"{hostile} Honey & wax. {hostile}")
    for query in ("honey", hostile, '"><script>alert(1)</script>'):
        html = page_of(client, q=query)
        assert "<script>alert" not in html
        assert "<b>.txt" not in html
    assert "<mark>Honey</mark> &amp; wax." in page_of(client, q="honey")


@pytest.mark.parametrize(
    ("text", "spans", "shown"),
    [
        ("Bees make honey.", [(10, 15)], "Bees make <mark>honey</mark>."),
        ("a" * 500, [], "a" * module.PASSAGE_LENGTH + " …"),
        ("honey " + "bee's " * 90, [(0, 5)], "<mark>honey</mark>" + " bee&#x27;s" * 59 + " …"),
        ("word " * 100 + "honey", [(500, 505)], "… " + "word " * 17 + "<mark>honey</mark>"),
        ("x" * 500 + "honey", [(500, 505)], "… " + "x" * 90 + "<mark>honey</mark>"),
    ],
)
def test_passage_is_the_part_with_the_first_match(text, spans, shown):
    hit = SearchHit.model_construct(
        text=text, highlights=[HighlightSchema(start=start, end=end) for start, end in spans]
    )
    assert module.passage(hit) == shown


def test_search_that_is_away_is_a_page_of_its_own(client, settings):
    ingested("bees.txt", "Bees make honey.")
    settings.INGESTION_PROGRESS_QDRANT_URL = "http://127.0.0.1:9"
    html = page_of(client, 503, q="bees")
    assert "The search is not available now." in html
    assert f'href="{SEARCH}?q=bees">Try again' in html
    assert "words only" not in html


class AwayEmbedder:
    """Its model does not answer."""

    name, length = "away", 4

    def embed(self, texts):
        return [[1.0, 0.0, 0.0, 0.0] for _ in texts]

    def embed_query(self, text):
        raise ModelUnavailable("models.example")


def test_words_alone_are_offered_while_the_model_is_away(client, settings):
    ingested("bees.txt", "Bees make honey.")
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = f"{__name__}.AwayEmbedder"
    settings.INGESTION_PROGRESS_DENSE_WEIGHT = 1
    html = page_of(client, 503, q="bees")
    assert "The model of the search does not answer." in html
    assert "models.example" in html
    words_only = unescape(re.search(r'href="([^"]*)">Search by words only', html)[1])
    assert names_of(text_of(client, words_only)) == ["bees.txt"]


def test_passages_that_match_by_words_only_are_marked_as_such(client, settings):
    ingested("bees.txt", "Bees make honey.")
    assert "by their words only" not in page_of(client, q="bees")
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = f"{__name__}.AwayEmbedder"
    html = page_of(client, q="bees")
    assert names_of(html) == ["bees.txt"]
    assert "these passages match by their words only" in html
    assert "by their words only" not in page_of(client, q="bees", dense_weight="0")


def jobs_in_the_hive(request):
    return Job.objects.filter(batch="hive")


def test_only_documents_of_visible_jobs_are_found_and_offered(client, settings):
    ingested("bees.txt", "Bees make honey.", batch="hive")
    wasps = ingested("wasps.txt", "Wasps make no honey.", batch="nest", batch_name="The nest")
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = f"{__name__}.jobs_in_the_hive"
    html = page_of(client, q="honey")
    assert names_of(html) == ["bees.txt"]
    assert "The nest" not in html
    hidden = page_of(client, q="honey", document=wasps.document_id)
    assert names_of(hidden) == []
    assert "wasps.txt" not in hidden


def test_page_is_closed_by_default(client, settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    response = client.get(SEARCH, {"q": "bees"})
    assert response.status_code == 302
    assert response["Location"] == "/login/?next=/search/%3Fq%3Dbees"
    user = User.objects.create_user("ada")
    client.force_login(user)
    assert client.get(SEARCH).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    assert client.get(SEARCH).status_code == 200
    assert client.post(SEARCH).status_code == 405


def test_header_of_pages_has_the_box_except_where_it_would_be_refused(client):
    box = f'<form class="site-search" role="search" method="get" action="{SEARCH}"'
    assert box in text_of(client, reverse("ingestion_progress:job_list"))
    assert box not in text_of(client, SEARCH)  # it has a larger one
    assert box not in text_of(client, "/login/")


@pytest.mark.parametrize("count", [1, 9])
def test_number_of_queries_does_not_depend_on_that_of_the_hits(
    client, django_assert_max_num_queries, count
):
    for number in range(count):
        ingested(f"{number}.txt", f"Honey of the apiary number {number}.")
    with django_assert_max_num_queries(12):
        assert len(names_of(page_of(client, q="honey"))) == count
