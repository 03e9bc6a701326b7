from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingestion_progress.pipeline.openai import endpoint as endpoints
from tests.support.documents import storage  # noqa: F401
from tests.support.fake_openai import FakeOpenAI, fake_openai


@pytest.fixture(scope="session")
def server() -> Iterator[FakeOpenAI]:
    """One for all tests, because its end takes half a second."""
    with fake_openai() as started:
        yield started


@pytest.fixture
def fake(server, settings, monkeypatch) -> FakeOpenAI:
    """An endpoint that the settings name; the pauses of the client's own back-off are short."""
    server.reset()
    server.start()
    monkeypatch.setattr(endpoints._backoff, "multiplier", 0.01)
    monkeypatch.setattr(endpoints._backoff, "jitter", 0.01)
    monkeypatch.setattr(endpoints._backoff, "max", 0.05)
    endpoints._made.cache_clear()  # with its pause
    settings.INGESTION_PROGRESS_OPENAI_BASE_URL = server.url
    settings.INGESTION_PROGRESS_OPENAI_API_KEY = "sk-secret"
    settings.INGESTION_PROGRESS_OPENAI_EXTRACTION_MODEL = "small"
    settings.INGESTION_PROGRESS_OPENAI_DESCRIPTION_MODEL = "seeing"
    settings.INGESTION_PROGRESS_OPENAI_EMBEDDING_MODEL = "meaning/of-texts"
    settings.INGESTION_PROGRESS_OPENAI_TIMEOUT_SECONDS = 0.5
    return server
