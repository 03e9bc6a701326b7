"""Settings of models that cannot work."""

from __future__ import annotations

import sys

import pytest

from ingestion_progress.pipeline.checks import check_components, check_models

EXTRACTOR = "ingestion_progress.pipeline.openai.extractor.OpenAIExtractor"
EMBEDDER = "ingestion_progress.pipeline.openai.embedder.OpenAIEmbedder"
DESCRIBER = "ingestion_progress.pipeline.openai.describer.OpenAIDescriber"


def test_a_component_needs_its_model(settings):
    assert list(check_models()) == []
    settings.INGESTION_PROGRESS_EXTRACTOR = EXTRACTOR
    settings.INGESTION_PROGRESS_DESCRIBER = DESCRIBER
    settings.INGESTION_PROGRESS_DENSE_EMBEDDER = EMBEDDER
    embedder, describer, extractor = check_models()
    assert embedder.id == describer.id == extractor.id == "ingestion_pipeline.E010"
    assert "INGESTION_PROGRESS_OPENAI_EMBEDDING_MODEL" in embedder.hint
    assert "INGESTION_PROGRESS_OPENAI_DESCRIPTION_MODEL" in describer.hint
    assert "INGESTION_PROGRESS_OPENAI_EXTRACTION_MODEL" in extractor.hint
    settings.INGESTION_PROGRESS_OPENAI_EXTRACTION_MODEL = "a"
    settings.INGESTION_PROGRESS_OPENAI_DESCRIPTION_MODEL = "b"
    settings.INGESTION_PROGRESS_OPENAI_EMBEDDING_MODEL = "c"
    assert list(check_models()) == list(check_components()) == []


@pytest.mark.parametrize("address", ["localhost:11434", "ftp://host/v1", "https://"])
def test_an_address_has_a_protocol_and_a_host(settings, address):
    settings.INGESTION_PROGRESS_OPENAI_BASE_URL = address
    assert [each.id for each in check_models()] == ["ingestion_pipeline.E011"]


def test_concurrency_and_answers_are_at_least_one(settings):
    settings.INGESTION_PROGRESS_OPENAI_CONCURRENCY = 0
    settings.INGESTION_PROGRESS_OPENAI_ANSWER_TOKENS = 0
    assert [each.id for each in check_models()] == ["ingestion_pipeline.E012"] * 2


def test_without_the_package_the_extra_is_named(settings, monkeypatch):
    settings.INGESTION_PROGRESS_EXTRACTOR = EXTRACTOR
    monkeypatch.setitem(sys.modules, "openai", None)
    for name in [
        name for name in sys.modules if name.startswith("ingestion_progress.pipeline.openai.")
    ]:
        monkeypatch.delitem(sys.modules, name)
    (error,) = check_components()
    assert error.hint == "pip install 'django-ingestion-progress[openai]'"
