"""The catalogues of translations, and whose language a page is in."""

from __future__ import annotations

import gettext
import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import trans_real

from ingestion_progress.web import client_words
from tests.support.live import ROOT

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}
LIST = reverse("ingestion_progress:job_list")


@pytest.fixture
def translations() -> ModuleType:
    pytest.importorskip("babel")
    spec = importlib.util.spec_from_file_location("translations", ROOT / "scripts/translations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copied(translations, tmp_path, monkeypatch) -> Path:
    """The German catalogue in a folder that the script takes for that of the project."""
    found = translations.template()
    monkeypatch.setattr(translations, "template", lambda: found)
    shutil.copytree(translations.LOCALE, tmp_path / "locale")
    monkeypatch.setattr(translations, "ROOT", tmp_path)
    monkeypatch.setattr(translations, "LOCALE", tmp_path / "locale")
    return tmp_path / "locale/de/LC_MESSAGES/django.po"


def test_each_catalogue_is_complete_and_compiled(translations, capsys):
    assert translations.languages()
    assert translations.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (('msgstr "Seite nicht gefunden"', 'msgstr ""'), "not translated: 'Page not found'"),
        (("<bdi>%(job_id)s</bdi></code>. Vielleicht", "X. Vielleicht"), "other placeholders"),
        (('msgid "Page not found"', 'msgid "Page"'), "not translated: 'Page not found'"),
        (('msgid "Page not found"', '#, fuzzy\nmsgid "Page not found"'), "fuzzy: 'Page not found'"),
    ],
)
def test_incomplete_catalogue_fails_the_check(translations, copied, capsys, edit, problem):
    text = copied.read_text()
    assert edit[0] in text
    copied.write_text(text.replace(*edit))
    assert translations.main(["--check"]) == 1
    assert problem in capsys.readouterr().out


def test_client_has_the_texts_that_the_script_finds_in_modules(translations):
    paths = client_words.APP.rglob("static/*/*.js")
    found = [text for path in paths for text, *_ in translations.texts(path)]
    texts = client_words.client_texts()
    singulars = {text.partition(client_words.CONTEXT_END)[2] or text for text, _ in texts}
    assert {text if isinstance(text, str) else text[0] for text in found} <= singulars


def test_no_text_has_the_translation_of_another_app():
    """Django's admin has other words for some buttons, and precedes the app in this project."""
    with (client_words.LOCALE / "de/LC_MESSAGES/django.mo").open("rb") as file:
        own = vars(gettext.GNUTranslations(file))["_catalog"]
    shown = trans_real.translation("de")._catalog
    assert {text: shown[text] for text in own if text and shown[text] != own[text]} == {}


def test_pages_are_in_the_language_of_the_browser():
    german = Client().get("/nowhere/", headers=GERMAN)
    assert '<html lang="de"' in german.text
    assert "Seite nicht gefunden" in german.text
    assert german["Content-Language"] == "de"
    assert "Accept-Language" in german["Vary"]
    other = Client().get("/nowhere/", headers={"Accept-Language": "fr"})
    assert '<html lang="en"' in other.text
    assert "Page not found" in other.text


def test_pages_are_in_the_language_of_the_site_for_other_browsers():
    with override_settings(LANGUAGE_CODE="de"):
        assert "Seite nicht gefunden" in Client().get("/nowhere/").text


def test_language_of_a_request_ends_with_it():
    Client().get("/nowhere/", headers=GERMAN)
    assert translation.get_language() == "en"


@pytest.mark.django_db
def test_api_is_the_same_for_each_language():
    address = reverse("ingestion_progress:api:jobs")
    german = Client().get(address, headers=GERMAN)
    assert "Content-Language" not in german
    assert "Accept-Language" not in german.get("Vary", "")
    assert Client().get(f"{address}/none", headers=GERMAN).json() == (
        Client().get(f"{address}/none").json()
    )
