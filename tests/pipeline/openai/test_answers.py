"""Answers that are kept, so that a retry does not pay again."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.utils import timezone

from ingestion_progress import track
from ingestion_progress.models import Job
from ingestion_progress.pipeline.models import Document, ModelAnswer
from ingestion_progress.pipeline.openai.answers import AnswerPruner, store_answer, stored_answer
from ingestion_progress.pipeline.openai.extractor import OpenAIExtractor
from ingestion_progress.pipeline.uploads.receive import receive

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

TEXT = "Ada met Grace."


def test_the_same_question_is_paid_for_once(fake):
    with track("a.pdf", stages=["extraction"]):
        first = OpenAIExtractor().extract(TEXT)
    with track("b.pdf", stages=["extraction"]) as job:
        assert OpenAIExtractor().extract(TEXT) == first
    assert len(fake.questions) == 1
    assert Job.objects.get(pk=job.job_id).counters == {"answers_from_cache": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [("EXTRACTION_MODEL", "large"), ("ANSWER_TOKENS", 50)],
)
def test_another_model_or_limit_is_another_question(fake, settings, name, value):
    with track("a.pdf", stages=["extraction"]):
        OpenAIExtractor().extract(TEXT)
        setattr(settings, f"INGESTION_PROGRESS_OPENAI_{name}", value)
        OpenAIExtractor().extract(TEXT)
    assert len(fake.questions) == 2


def test_without_a_job_nothing_is_kept(fake):
    for _ in range(2):
        OpenAIExtractor().extract(TEXT)
    assert len(fake.questions) == 2
    assert not ModelAnswer.objects.exists()


@pytest.mark.usefixtures("storage")
def test_an_answer_is_deleted_with_the_document_that_asked_first():
    document = receive(io.BytesIO(b"Bees."), name="a.txt", is_enqueued=False)
    with track("a.txt", document_id=document.document_id, stages=["extraction"]):
        store_answer("k", {"text": "a\0b"})
        store_answer("k", {"text": "of a worker that asked at the same time"})
        assert stored_answer("k") == {"text": "a\0b"}
    Document.objects.all().delete()
    assert not ModelAnswer.objects.exists()


def test_a_larger_answer_than_the_limit_is_not_kept(settings):
    settings.INGESTION_PROGRESS_OPENAI_CACHE_BYTES = 1
    with track("a.txt", stages=["extraction"]):
        store_answer("k", {"text": "Bees"})
        assert stored_answer("k") is None


def test_those_that_were_not_used_for_longest_make_room(settings):
    settings.INGESTION_PROGRESS_OPENAI_CACHE_BYTES = 1000
    now, seconds = timezone.now(), 0.0
    ModelAnswer.objects.bulk_create(
        ModelAnswer(key=str(age), content="{}", size_bytes=100, used_at=now - timedelta(days=age))
        for age in range(12)
    )
    pruner = AnswerPruner(lambda: seconds)
    with track("a.txt", stages=["extraction"]):
        stored_answer("11")
    assert pruner.prune() == 3
    kept = set(ModelAnswer.objects.values_list("key", flat=True))
    assert kept == {"0", "1", "2", "3", "4", "5", "6", "7", "11"}
    ModelAnswer.objects.update(size_bytes=10_000)
    assert pruner.prune() == 0
    seconds = 60.0
    assert pruner.prune() == 9
