"""Questions to an endpoint that fails, limits the rate, is slow, or is away."""

from __future__ import annotations

import email.utils
import logging
import threading
import time
from contextvars import copy_context

import pytest
from django.db import connections
from django.utils import timezone

from ingestion_progress import track
from ingestion_progress.exceptions import JobCancelled
from ingestion_progress.models import Job, JobEvent
from ingestion_progress.pipeline.exceptions import ModelRefused, ModelUnavailable, UnusableAnswer
from ingestion_progress.pipeline.openai import endpoint as endpoints
from ingestion_progress.pipeline.openai.embedder import OpenAIEmbedder
from ingestion_progress.pipeline.openai.extractor import OpenAIExtractor
from ingestion_progress.tracker import request_cancellation
from ingestion_progress.wire.snapshots import load_snapshot
from tests.support.fake_openai import answering, broken, failing, good, silent_server, slow
from tests.support.tracking import eventually, quick_writer  # noqa: F401  (the fixture of all)

TEXT = "Ada met Grace."
HONEY = "Bees make honey."


@pytest.fixture
def job(transactional_db):
    """Without one, nothing is counted or kept, and no database is needed."""
    with track("a.pdf", stages=["extraction"]) as tracked:
        yield tracked


def extract(text=TEXT):
    return OpenAIExtractor().extract(text)


def in_context(act):
    """In a thread that has the current job."""

    def work():
        try:
            act()
        finally:
            connections.close_all()

    thread = threading.Thread(target=copy_context().run, args=[work])
    thread.start()
    return thread


def waiting_for() -> str:
    return load_snapshot(Job.objects.get().pk).state(timezone.now()).waiting_for


def test_an_answer_has_entities_and_typed_relations_and_counts_its_tokens(fake, job):
    found = extract()
    assert found.entities == {"ada": "Ada", "grace": "Grace"}
    assert found.relations == (("ada", "grace"),)
    assert found.types == {("ada", "grace"): "meets"}
    (question,) = fake.questions
    assert question["model"] == "small"
    assert question["max_completion_tokens"] == 4000
    assert question["response_format"]["json_schema"]["strict"] is True
    assert fake.keys == {"Bearer sk-secret"}
    job.flush()
    assert Job.objects.get().counters == {"prompt_tokens": 100, "completion_tokens": 7}


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (answering("Bees {"), "The answer of the model does not have the expected form."),
        (answering('{"entities": ["Bees"]}'), "does not have the expected form."),
        (answering(None), "does not have the expected form."),
        (answering("[1]"), "does not have the expected form."),
        (answering(None, refusal="Bees!"), "The model refused to answer."),
        (answering('{"ent', finish="length"), "is cut off after 4000 tokens."),
        (answering("", finish="content_filter"), "The content filter of the model withheld"),
        (broken, "does not have the expected form."),
        (failing(400, code="context_length_exceeded"), "(400, context_length_exceeded)"),
        (failing(400, code="Bees make honey"), "refused the question (400)."),
        (failing(422), "refused the question (422)."),
    ],
)
def test_an_unusable_answer_costs_one_item_and_its_error_repeats_no_text(
    fake, caplog, step, sentence
):
    fake.script.append(step)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UnusableAnswer) as caught:
        extract(HONEY)
    logging.getLogger("test").error("failed", exc_info=caught.value)
    assert sentence in str(caught.value)
    for secret in ("Bees", "sk-secret"):
        assert secret not in caplog.text
    assert len(fake.questions) == 1
    assert extract(HONEY).entities == {"bees": "Bees"}


def test_tokens_of_an_unusable_answer_count(fake, job):
    fake.script.extend([answering("Bees {"), answering('{"ent', finish="length")])
    for _ in range(2):
        with pytest.raises(UnusableAnswer):
            extract()
    job.flush()
    assert Job.objects.get().counters == {"prompt_tokens": 200, "completion_tokens": 14}


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "Correct OPENAI_API_KEY."), (403, "may use."), (404, "Correct the model's name")],
)
def test_a_refusal_of_the_key_or_model_is_not_tried_again(fake, status, sentence):
    fake.script.append(failing(status))
    with pytest.raises(ModelRefused, match=fake.host) as caught:
        extract()
    assert sentence in str(caught.value)
    assert len(fake.questions) == 1


@pytest.mark.parametrize(
    "steps",
    [
        [failing(500)],
        [failing(503), failing(502)],
        [failing(429), failing(429), failing(429), failing(429)],
        [failing(408), failing(409)],
        [slow(0.8)],
    ],
)
def test_a_failure_that_passes_costs_nothing_but_time(fake, steps):
    fake.script.extend(steps)
    assert extract().entities
    assert len(fake.questions) == len(steps) + 1


def test_a_question_at_which_a_working_server_always_fails_costs_one_item(fake):
    fake.always = lambda question: (
        failing(500)(question) if TEXT in str(question) else good(question)
    )
    with pytest.raises(UnusableAnswer, match="failed 3 times at this question"):
        extract()
    assert len(fake.questions) == 4
    assert extract("Grace rests.").entities


@pytest.mark.parametrize("form", ["seconds", "milliseconds", "date"])
def test_no_thread_asks_before_the_time_that_the_server_names(fake, form):
    headers = {
        "seconds": {"Retry_After": "0.4"},
        "milliseconds": {"Retry_After_Ms": "400", "Retry_After": "60"},
        "date": {"Retry_After": email.utils.formatdate(time.time() + 1.9, usegmt=True)},
    }[form]
    fake.script.append(failing(429, **headers))
    threads = [in_context(extract)]
    eventually(lambda: fake.asked_at)
    time.sleep(0.05)  # for the answer to arrive
    threads += [in_context(lambda n=n: extract(f"Text {n}.")) for n in range(3)]
    for thread in threads:
        thread.join()
    first, *later = fake.asked_at
    assert len(later) == 4
    assert min(later) - first >= 0.39


def test_at_most_so_many_questions_are_open_at_a_time(fake, settings):
    settings.INGESTION_PROGRESS_OPENAI_CONCURRENCY = 2
    fake.always = slow(0.3)
    threads = [in_context(lambda n=n: extract(f"Text {n}.")) for n in range(6)]
    for thread in threads:
        thread.join()
    assert (len(fake.questions), fake.most_at_once) == (6, 2)


def test_a_job_waits_visibly_for_an_endpoint_that_is_away_and_goes_on_when_it_is_back(fake, job):
    fake.stop()
    found = []
    thread = in_context(lambda: found.append(extract()))
    eventually(lambda: waiting_for() == f"the model at {fake.host}")
    assert load_snapshot(job.job_id).forecast(timezone.now()).reason == "waiting"
    fake.start()
    thread.join(30)
    assert found[0].entities
    eventually(lambda: waiting_for() == "")
    assert [event.message for event in JobEvent.objects.filter(stage="extraction")] == [
        f"Waiting for the model at {fake.host}.",
        f"No longer waiting for the model at {fake.host}.",
    ]
    assert not JobEvent.objects.filter(level="error").exists()


def cancel_when_it_waits(fake, job):
    eventually(lambda: waiting_for() == f"the model at {fake.host}")
    request_cancellation(job.job_id)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("reason", ["refused", "limited"])
def test_a_cancelled_job_stops_while_it_waits(fake, reason):
    if reason == "refused":
        fake.stop()
    fake.always = failing(429, Retry_After="3000")
    with pytest.raises(JobCancelled), track("a.pdf", stages=["extraction"]) as job:
        in_context(lambda: cancel_when_it_waits(fake, job))
        extract()
    row = Job.objects.get()
    assert (row.status, waiting_for()) == ("cancelled", "")
    assert row.events.filter(message=f"Waiting for the model at {fake.host}.").exists()


def test_after_the_patience_the_attempt_ends_with_an_error_that_may_pass(fake, job, settings):
    settings.INGESTION_PROGRESS_OPENAI_PATIENCE_SECONDS = 0.1
    fake.stop()
    with pytest.raises(ModelUnavailable, match=f"The model at {fake.host} did not answer in time"):
        extract()
    fake.start()
    fake.script.append(failing(429, Retry_After="3600"))
    with pytest.raises(ModelUnavailable):
        extract()


def test_a_search_does_not_wait_for_the_pause_or_the_questions_of_a_job(
    fake, settings, monkeypatch
):
    monkeypatch.setattr(endpoints, "URGENT_PATIENCE_SECONDS", 0.1)
    settings.INGESTION_PROGRESS_OPENAI_CONCURRENCY = 1
    gate = endpoints.endpoint()._gate
    gate.close(60)
    with pytest.raises(ModelUnavailable):
        OpenAIEmbedder().embed_query("a")
    gate._until = 0.0
    with gate._slots, pytest.raises(ModelUnavailable):
        OpenAIEmbedder().embed_query("a")
    assert fake.questions == []


def test_a_server_that_is_silent_is_away(fake, job, settings):
    settings.INGESTION_PROGRESS_OPENAI_PATIENCE_SECONDS = 0.3
    settings.INGESTION_PROGRESS_OPENAI_TIMEOUT_SECONDS = 0.05
    with silent_server() as url:
        settings.INGESTION_PROGRESS_OPENAI_BASE_URL = url
        with pytest.raises(ModelUnavailable):
            extract()
