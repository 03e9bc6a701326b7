"""Dense vectors of a model behind an API."""

from __future__ import annotations

import pytest

from ingestion_progress.models import Job
from ingestion_progress.pipeline.exceptions import ModelUnavailable, UnusableAnswer
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.openai import endpoint as endpoints
from ingestion_progress.pipeline.openai.embedder import OpenAIEmbedder
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.search.rebuild import rebuild_search_index
from ingestion_progress.recovery import retry_job
from tests.pipeline.test_ingestion import ingested
from tests.support.fake_openai import answering, failing, good, vectors_of

WORDS = "Ada met Grace. " + "They talked about numbers for a long time. " * 60
STORED = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("storage")]


@pytest.fixture
def embedder(fake, settings):
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = (
        "ingestion_progress.pipeline.openai.embedder.OpenAIEmbedder"
    )
    return fake


def test_texts_are_embedded_by_one_question_in_their_order(fake):
    assert OpenAIEmbedder().embed(["aab", "", "b\ud800"]) == [[3, 2, 1], [1, 1, 1], [1, 2, 1]]
    (question,) = fake.questions
    assert question["input"] == ["aab", " ", "b?"]
    assert (question["model"], question["encoding_format"]) == ("meaning/of-texts", "float")
    assert "dimensions" not in question


def test_the_name_of_its_vectors_has_the_model_and_the_dimensions(fake, settings):
    assert OpenAIEmbedder().name == "meaning-of-texts"
    settings.INGESTION_PROGRESS_OPENAI_EMBEDDING_DIMENSIONS = 3
    assert OpenAIEmbedder().name == "meaning-of-texts-3"
    OpenAIEmbedder().embed_query("a")
    assert fake.questions[0]["dimensions"] == 3


@pytest.mark.parametrize(
    "step",
    [
        lambda question: vectors_of([[1.0]]),
        lambda question: vectors_of([[1.0], [1.0, 2.0]]),
        lambda question: vectors_of([[], []]),
        lambda question: vectors_of([[1.0], [float("nan")]]),
        lambda question: vectors_of([["a"], ["b"]]),
        answering("Bees"),
    ],
)
def test_an_answer_without_a_vector_for_each_text_is_unusable(fake, step):
    fake.script.append(step)
    with pytest.raises(UnusableAnswer):
        OpenAIEmbedder().embed(["a", "b"])


def test_a_query_waits_some_seconds_for_an_endpoint_that_is_away(fake, monkeypatch):
    monkeypatch.setattr(endpoints, "URGENT_PATIENCE_SECONDS", 0.1)
    fake.always = failing(429, Retry_After="60")
    with pytest.raises(ModelUnavailable):
        OpenAIEmbedder().embed_query("a")


class TestWithDocuments:
    pytestmark = STORED

    def test_chunks_and_queries_are_compared_by_meaning(self, embedder):
        job = ingested(b"aaa bbb", "a.txt")
        ingested(b"ccc ccc", "c.txt")
        assert job.counters == {"prompt_tokens": 10}
        found = [hit.document_name for hit in search("cacao cc", dense_weight=1.0)]
        assert found == ["c.txt", "a.txt"]
        assert [question["input"] for question in embedder.questions][-1] == ["cacao cc"]

    def test_a_retry_is_answered_from_the_stored_vectors(self, embedder):
        job = ingested(WORDS.encode(), "a.txt")
        asked = len(embedder.questions)
        retry_job(job.pk)
        ingest(job.pk)
        job.refresh_from_db()
        assert len(embedder.questions) == asked
        assert set(job.counters) == {"answers_from_cache"}

    def test_a_refused_text_costs_one_chunk_and_a_retry_pays_only_for_that(self, embedder):
        def without_ada(question):
            has_ada = "Ada" in str(question["input"])
            return failing(400)(question) if has_ada else good(question)

        embedder.always = without_ada
        job = ingested(WORDS.encode(), "a.txt")
        assert (job.result, job.failed_items) == ("partial", 1)
        embedder.always = None
        embedder.questions.clear()
        retry_job(job.pk, only="failed")
        ingest(job.pk)
        assert Job.objects.get().result == "succeeded"
        assert [len(question["input"]) for question in embedder.questions] == [1]

    def test_a_search_compares_words_while_the_model_is_away(
        self, embedder, monkeypatch, client, settings
    ):
        settings.INGESTION_PROGRESS_PUBLIC = True
        monkeypatch.setattr(endpoints, "URGENT_PATIENCE_SECONDS", 0.1)
        ingested(b"Bees make honey.", "a.txt")
        embedder.stop()
        assert [hit.document_name for hit in search("honey")] == ["a.txt"]
        assert search("wasps") == []
        response = client.get("/api/v1/search?q=honey&dense_weight=1")
        assert response.status_code == 503
        assert f"The model at {embedder.host} did not answer in time." in response.content.decode()

    def test_a_rebuilt_index_has_the_vectors_of_a_new_model(self, fake, settings):
        ingested(b"aaa bbb", "a.txt")
        settings.INGESTION_PROGRESS_DENSE_EMBEDDER = (
            "ingestion_progress.pipeline.openai.embedder.OpenAIEmbedder"
        )
        assert search("aa", dense_weight=1.0) == []
        assert rebuild_search_index() == 1
        assert len(search("aa", dense_weight=1.0)) == 1
