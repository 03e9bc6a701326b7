"""Sentences are English, and know their translation."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys

from django.utils import translation

from ingestion_progress.exceptions import BatchActive, ErrorCode, IngestionProgressError
from ingestion_progress.exceptions.sentences import Sentence


def test_sentence_is_english_in_every_language_until_it_is_translated():
    sentence = Sentence("“%(name)s” is empty.", name="50 %(s).txt")
    with translation.override("de"):
        assert sentence == f"{sentence}" == json.loads(json.dumps(sentence))
        assert sentence == "“50 %(s).txt” is empty."
        assert sentence.translated() == "„50 %(s).txt“ ist leer."
    assert sentence.translated() == sentence


def test_details_are_translated_if_they_are_sentences():
    # "Jobs" is a text of the pages; here it is the name of a document.
    values = {"name": "Jobs", "reason": Sentence("The disk is full.")}
    sentence = Sentence("“%(name)s” could not be stored. %(reason)s", **values)
    assert sentence == "“Jobs” could not be stored. The disk is full."
    with translation.override("de"):
        assert copy.deepcopy(sentence).translated() == (
            "„Jobs“ konnte nicht gespeichert werden. Der Datenträger ist voll."
        )


def test_exception_is_english_and_translates_its_sentence():
    refused = BatchActive("Mai")
    with translation.override("de"):
        assert str(refused) == "Jobs of batch Mai are queued or running; cancel them first."
        assert refused.translated() == (
            "Jobs des Stapels Mai warten oder laufen; brechen Sie sie zuerst ab."
        )
        assert IngestionProgressError("Page not found").translated() == "Page not found"


def test_each_error_code_has_a_sentence_in_each_language():
    with translation.override("de"):
        assert not [code for code in ErrorCode if code.message.translated() == code.message]


def test_exceptions_are_imported_without_settings():
    """A benchmark of frames has none."""
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    source = (
        "from ingestion_progress.exceptions import ErrorCode; print(ErrorCode.NOT_FOUND.status)"
    )
    printed = subprocess.check_output([sys.executable, "-c", source], env=env, text=True)
    assert printed == "404\n"
