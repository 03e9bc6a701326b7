from __future__ import annotations

import pytest

from ingestion_progress import wording
from tests.wording_cases import ALL


@pytest.mark.parametrize(("name", "_javascript", "arguments", "answer"), ALL)
def test_numbers_read_as_people_say_them(name, _javascript, arguments, answer):
    assert getattr(wording, name)(*arguments).replace(wording.NBSP, " ") == answer


@pytest.mark.parametrize(
    ("running", "has_started", "phrase"),
    [
        (["Embedding", "Extraction"], True, "Now: Embedding, Extraction"),
        ([], True, "Between two stages"),
        ([], False, "Starting"),
    ],
)
def test_activity_names_the_stages_that_run(running, has_started, phrase):
    assert wording.activity(running, has_started=has_started) == phrase
