"""Stored texts are recognised, and shown in the language of the reader."""

from __future__ import annotations

import time

import pytest
from django.utils import translation

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.exceptions.stored_sentences import (
    MAX_LENGTH,
    Template,
    templates,
    translate_pattern,
    translate_stored,
)
from ingestion_progress.tracker.error_messages import pattern_of


@pytest.fixture(autouse=True)
def _german():
    with translation.override("de"):
        yield


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("“a.txt” is empty.", "„a.txt“ ist leer."),
        ("“50 %(s).txt” is empty.", "„50 %(s).txt“ ist leer."),
        ("“a” is empty.” is empty.", "„a” is empty.“ ist leer."),
        ("page 3", "Seite 3"),
        ("Failed: “a.txt” has no slides.", "Fehlgeschlagen: „a.txt“ hat keine Folien."),
        ("Failed: Connection refused", "Fehlgeschlagen: Connection refused"),
        ("Waiting for the model at llm:8000.", "Wartet auf das Modell unter llm:8000."),
        (
            "Cancellation requested by a newer version of the document",
            "Abbruch angefordert von einer neueren Version des Dokuments",
        ),
        ("Lost: Its worker died.", "Verloren: Sein Worker ist abgestürzt."),
        (
            "Oh. The job was lost or failed 3 times in a row: no further attempt.",
            "Oh. Der Job ging 3-mal in Folge verloren oder schlug fehl: kein weiterer Versuch.",
        ),
    ],
)
def test_stored_sentence_is_shown_in_german(stored, shown):
    assert translate_stored(stored) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "page turner",
        "“” is empty.",
        "“a.txt” is empty",
        "No space left",
        "“a.txt” is empty." + "x" * MAX_LENGTH,
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert translate_stored(text) == text


def test_english_readers_see_the_stored_text():
    for language in ("en", None):
        with translation.override(language):
            assert translate_stored("“a.txt” is empty.") == "“a.txt” is empty."


def test_each_template_is_recognised_and_has_a_translation():
    found = {template.text for each in templates().values() for template in each}
    assert len(found) > 100
    for text in found:
        names = Template.of(text).names
        values = dict.fromkeys(names, "7")
        assert translate_stored(StoredSentence(text, **values)) != StoredSentence(text, **values)


def test_names_of_documents_are_no_sentences():
    assert translate_stored("“The disk is full.” is empty.") == "„The disk is full.“ ist leer."


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("“a.txt” is empty.", "„<Name>“ ist leer."),
        ("Page 7 is damaged and was left out.", "Seite <n> ist beschädigt und wurde ausgelassen."),
        ("Cannot read /srv/data/a.txt", "Cannot read <Pfad>"),
    ],
)
def test_what_similar_errors_have_in_common_is_german(message, shown):
    assert translate_pattern(pattern_of(message)) == shown


def test_hostile_texts_take_linear_time():
    """Of texts with the beginning, the middle and the end of many templates, none takes long."""

    known = {template for each in templates().values() for template in each}

    def seconds(length: int) -> float:
        hostile = "Failed: " * (length // 8) + " MB of memory to read" * (length // 21) + "."
        began_at = time.process_time()
        for template in known:
            template.details_of(hostile)
        translate_stored(hostile[:MAX_LENGTH])
        return time.process_time() - began_at

    assert min(seconds(400_000) for _ in range(3)) < 50 * max(seconds(40_000), 0.001)
