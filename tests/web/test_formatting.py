"""The texts of numbers, durations and states."""

from __future__ import annotations

import pytest

from ingestion_progress.web import formatting
from tests.support.wording_cases import ALL


@pytest.mark.parametrize(("name", "_javascript", "arguments", "text"), ALL)
def test_values_have_the_texts_of_the_shared_cases(name, _javascript, arguments, text):
    assert getattr(formatting, name)(*arguments).replace(formatting.NBSP, " ") == text


@pytest.mark.parametrize(
    ("running", "has_started", "phrase"),
    [
        (["Embedding", "Extraction"], True, "Now: Embedding, Extraction"),
        ([], True, "Between two stages"),
        ([], False, "Starting"),
    ],
)
def test_activity_names_the_stages_that_run(running, has_started, phrase):
    assert formatting.activity(running, has_started=has_started) == phrase
