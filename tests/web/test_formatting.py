"""The texts of numbers, durations and states."""

from __future__ import annotations

import pytest
from django.utils import translation

from ingestion_progress.web import stage_texts
from ingestion_progress.web.formatting import NBSP
from tests.support.wording_cases import ALL, text_of


@pytest.mark.parametrize(("name", "_javascript", "arguments", "text"), ALL)
def test_values_have_the_texts_of_the_shared_cases(name, _javascript, arguments, text):
    assert text_of(name, arguments).replace(NBSP, " ") == text


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("count", [1234567], "1.234.567"),
        ("exact_percent", [41.3], "41,3 %"),
        ("percent", [41.3], "41 %"),
        ("duration", [450], "0,4 s"),
        ("age", [24 * 3_600_000], "vor 1 Tag"),
        ("age", [49 * 3_600_000], "vor 2 Tagen"),
        ("rate", [3, 120_000], "1,5 pro min"),
        ("remaining", [180_000, 120_000, 300_000], "noch etwa 3 min (2–5 min)"),
        ("job_label", ["succeeded", 1], "Erfolgreich mit 1 Fehler"),
        ("job_label", ["succeeded", 1200], "Erfolgreich mit 1.200 Fehlern"),
        ("label", ["parsing"], "Parsen"),
        ("label", ["entity_linking"], "Entity linking"),
        ("unit", ["pages", 1], "Seite"),
        ("unit", ["tables", 1], "table"),
        (
            "stage_detail",
            ["error", 3, 1490, "pages", 2],
            "nach 3 / 1.490 Seiten · 2 fehlgeschlagen",
        ),
    ],
)
def test_values_have_german_texts(name, arguments, text):
    with translation.override("de"):
        assert text_of(name, arguments).replace(NBSP, " ") == text


@pytest.mark.parametrize(
    ("running", "has_started", "phrase"),
    [
        (["Embedding", "Extraction"], True, "Now: Embedding, Extraction"),
        ([], True, "Between two stages"),
        ([], False, "Starting"),
    ],
)
def test_activity_names_the_stages_that_run(running, has_started, phrase):
    assert stage_texts.activity(running, has_started=has_started) == phrase
