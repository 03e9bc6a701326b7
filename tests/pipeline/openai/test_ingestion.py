"""Documents that are ingested with models: what is stored, and what an error costs."""

from __future__ import annotations

import base64
import io
import json
import threading

import pytest
from django.db import connections
from PIL import Image

from ingestion_progress.exceptions import JobCancelled
from ingestion_progress.models import Job, JobError
from ingestion_progress.pipeline.exceptions import ModelRefused, NothingIngested
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Entity, ModelAnswer, Relation
from ingestion_progress.pipeline.search import search
from ingestion_progress.recovery import retry_job
from ingestion_progress.tracker import request_cancellation
from tests.pipeline.test_ingestion import ingested, queued
from tests.support.documents import png
from tests.support.fake_openai import answering, failing, good, held, slow
from tests.support.tracking import eventually, quick_writer  # noqa: F401  (the fixture of all)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("storage")]

WORDS = "Ada met Grace. " + "They talked about numbers for a long time. " * 30


@pytest.fixture
def extractor(fake, settings):
    settings.INGESTION_PROGRESS_EXTRACTOR = (
        "ingestion_progress.pipeline.openai.extractor.OpenAIExtractor"
    )
    return fake


@pytest.fixture
def describer(fake, settings):
    settings.INGESTION_PROGRESS_DESCRIBER = (
        "ingestion_progress.pipeline.openai.describer.OpenAIDescriber"
    )
    return fake


def page_with(*pictures: bytes) -> bytes:
    addresses = [f"data:image/png;base64,{base64.b64encode(each).decode()}" for each in pictures]
    images = "".join(f'<img alt="Shape {n}" src="{url}">' for n, url in enumerate(addresses, 1))
    return f"<p>Bees make honey.</p>{images}<img src='elsewhere.png' alt='Far away'>".encode()


def test_entities_and_relations_of_a_model_are_stored(extractor):
    job = ingested(b"Ada met Grace.", "a.txt")
    assert set(Entity.objects.values_list("name", flat=True)) == {"Ada", "Grace"}
    assert Relation.objects.count() == 1
    (related,) = search("Ada")[0].relations
    assert (related.source, related.type, related.target) == ("Ada", "meets", "Grace")
    assert (job.entities_total, job.relations_total, job.failed_items) == (2, 1, 0)
    assert job.counters == {"prompt_tokens": 100, "completion_tokens": 7}


def test_a_bad_answer_costs_one_chunk_and_a_retry_pays_only_for_that(extractor):
    def bad_about_ada(question):
        return answering("no JSON" if "Ada" in str(question) else None)(question)

    extractor.always = lambda question: (
        bad_about_ada(question) if "Ada" in str(question) else good(question)
    )
    job = ingested(WORDS.encode(), "a.txt")
    asked = len(extractor.questions)
    assert asked > 1
    assert (job.result, job.failed_items) == ("partial", 1)
    group = JobError.objects.get()
    assert (group.stage, group.kind, group.count) == ("extraction", "unusable answer", 1)
    assert "expected form" in group.message
    extractor.always = None
    retry_job(job.pk, only="failed")
    ingest(job.pk)
    job.refresh_from_db()
    assert (job.result, job.failed_items) == ("succeeded", 0)
    assert len(extractor.questions) == asked + 1
    assert Entity.objects.filter(name="Ada").exists()


def test_a_retry_of_everything_is_answered_from_the_stored_answers(extractor):
    job = ingested(WORDS.encode(), "a.txt")
    asked = len(extractor.questions)
    retry_job(job.pk)
    ingest(job.pk)
    job.refresh_from_db()
    assert len(extractor.questions) == asked
    assert job.counters == {"answers_from_cache": asked}


def test_if_no_answer_can_be_used_the_job_fails_and_says_why(extractor):
    extractor.always = failing(400, code="unsupported_format")
    with pytest.raises(NothingIngested, match=r"read for entities: .*\(400, unsupported_format\)"):
        ingested(b"Ada met Grace.", "a.txt")


def test_a_refused_key_fails_the_job_at_once(extractor):
    extractor.always = failing(401)
    with pytest.raises(ModelRefused):
        ingested(WORDS.encode() * 20, "a.txt")
    assert len(extractor.questions) <= 4
    assert "Correct OPENAI_API_KEY." in Job.objects.get().error


def test_pictures_are_looked_at_with_what_the_document_says_about_them(describer):
    large = io.BytesIO()
    Image.new("RGBA", (4000, 1000), (0, 0, 255, 128)).save(large, "PNG")
    job = ingested(page_with(png(), large.getvalue()), "a.html")
    texts = [hit.text for hit in search("square")]
    assert sorted(texts) == [
        "Picture 1: Shape 1. A red square.",
        "Picture 2: Shape 2. A red square.",
    ]
    assert [hit.text for hit in search("far away")] == ["Picture 3: Far away. PNG, elsewhere.png."]
    assert (job.failed_items, job.counters["prompt_tokens"]) == (0, 200)
    sizes = {picture_of(question).size for question in describer.questions}
    assert sizes == {(40, 30), (1536, 384)}
    assert all(question["model"] == "seeing" for question in describer.questions)
    said = sorted(question["messages"][1]["content"][0]["text"] for question in describer.questions)
    assert said == ["Alternative text: Shape 1", "Alternative text: Shape 2"]


def picture_of(question) -> Image.Image:
    url = question["messages"][1]["content"][1]["image_url"]["url"]
    header, _, data = url.partition(",")
    assert header == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_bad_answer_costs_one_picture_and_a_retry_asks_only_about_that(describer):
    describer.script.append(answering("", finish="stop"))
    job = ingested(page_with(png(), png(50, 50)), "a.html")
    assert (job.result, job.failed_items) == ("partial", 1)
    retry_job(job.pk, only="failed")
    ingest(job.pk)
    job.refresh_from_db()
    assert (job.result, len(describer.questions)) == ("succeeded", 3)
    assert len(search("square")) == 2


def test_pictures_are_described_at_the_same_time(describer, settings):
    settings.INGESTION_PROGRESS_OPENAI_TIMEOUT_SECONDS = 5
    describer.always = slow(0.2)
    ingested(page_with(*(png(30 + n, 30) for n in range(4))), "a.html")
    assert describer.most_at_once > 1


def test_a_job_is_cancelled_while_models_are_slow(describer, extractor, settings):
    settings.INGESTION_PROGRESS_OPENAI_TIMEOUT_SECONDS = 60
    go_on = threading.Event()
    describer.always = held(go_on)
    job = queued(page_with(png()), "a.html")

    def cancel():
        try:
            eventually(lambda: describer.questions)
            request_cancellation(job.pk)
        finally:
            connections.close_all()

    threading.Thread(target=cancel).start()
    with pytest.raises(JobCancelled):
        ingest(job.pk)
    assert describer.open_questions == 1
    go_on.set()
    job.refresh_from_db()
    assert job.status == "cancelled"
    eventually(ModelAnswer.objects.exists)  # the answer comes later, and a retry has it
    retry_job(job.pk)
    ingest(job.pk)
    assert [question["model"] for question in describer.questions].count("seeing") == 1


def test_what_a_model_says_cannot_break_the_page_of_the_job(extractor):
    names = ["<script>", "a\0b", "x" * 5000]
    extractor.always = answering(json.dumps({"entities": names, "relations": []}))
    assert ingested(b"Ada met Grace.", "a.txt").entities_total == 3
