"""The language of documents and chunks, and what follows it."""

from __future__ import annotations

import importlib
import io
import unicodedata
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection

from ingestion_progress.pipeline.checks import check_language
from ingestion_progress.pipeline.documents.again import ingest_again
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document, IndexedLanguage
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.search.highlights import Highlighter
from ingestion_progress.pipeline.stages import Embedding, Page
from ingestion_progress.pipeline.stages.embedding import NAMES, Bm25Embedder
from ingestion_progress.pipeline.stages.extraction import KeyphraseExtractor
from ingestion_progress.pipeline.stages.languages import DocumentLanguages, detected
from ingestion_progress.pipeline.stores.chunk_id import point_id
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from ingestion_progress.pipeline.stores.languages import indexed_languages
from ingestion_progress.pipeline.uploads.receive import receive
from tests.pipeline.search.test_search import ingested
from tests.support.api import refusal
from tests.support.documents import storage  # noqa: F401

TEXTS = {
    "de": "Die Häuser am Hafen gehören der Gemeinde. Der Wärter zündet abends die Lampen an.",
    "en": "The houses at the harbour belong to the town. The keeper lights the lamps at night.",
    "es": "Las casas del puerto pertenecen al municipio. El guardián enciende las lámparas.",
    "fr": "Les maisons du port appartiennent à la commune. Le gardien allume les lampes le soir.",
    "ja": "港の家は町のものです。灯台守は夜になるとランプに火をつけます。",
    "pl": "Domy w porcie należą do miasta. Latarnik wieczorem zapala lampy na wieży.",
    "ru": "Дома в порту принадлежат городу. Смотритель вечером зажигает лампы на башне.",
    "th": "บ้านที่ท่าเรือเป็นของเมือง คนเฝ้าประภาคารจุดตะเกียงในตอนเย็น",
    "zh": "港口的房子属于城市。灯塔管理员每天晚上点亮灯塔的灯，港口委员会检查灯塔。",
}


def languages_of(*texts: str) -> list[str]:
    found = DocumentLanguages.of_pages([Page(number=None, text=text) for text in texts])
    return [found.of_chunk(text) for text in texts]


def test_every_language_is_detected():
    assert {code: detected(text)[0] for code, text in TEXTS.items()} == {
        each: each for each in TEXTS
    }
    for code, text in TEXTS.items():
        assert languages_of(text) == [code]


def test_a_chunk_in_another_language_has_its_own_and_a_short_one_that_of_its_document():
    german = [TEXTS["de"] * 5] * 3
    found = languages_of(*german, TEXTS["ru"], "Installation", "Print help and exit", "4711")
    assert found == ["de", "de", "de", "ru", "de", "de", "de"]


@pytest.mark.parametrize("text", ["", "4711", "\ud800", "Ada Lovelace, Charles Babbage", "x" * 500])
def test_a_text_without_a_certain_language_has_none(text):
    assert languages_of(text) == [""]


def test_a_given_language_is_that_of_all_chunks(settings):
    settings.INGESTION_PROGRESS_DOCUMENT_LANGUAGE = "sv"
    assert languages_of(TEXTS["de"], TEXTS["ru"] * 5, "x") == ["sv"] * 3


@pytest.mark.parametrize(("value", "problems"), [("", 0), ("de", 0), ("yue", 0), ("german", 1)])
def test_the_setting_is_checked(settings, value, problems):
    settings.INGESTION_PROGRESS_DOCUMENT_LANGUAGE = value
    found = list(check_language())
    assert [each.id for each in found] == ["ingestion_pipeline.E006"] * problems


@pytest.mark.parametrize(
    ("language", "query", "text"),
    [
        ("de", "Haus der Gemeinden", TEXTS["de"]),
        ("es", "lámpara", TEXTS["es"]),
        ("fr", "appartenir maison", "Ces maisons vont appartenir à la ville"),
        ("ru", "лампа башни", TEXTS["ru"]),
        ("hu", "ház", "a házak"),
        ("pl", "Latarnik", TEXTS["pl"]),
        ("ja", "灯台守 ランプ", TEXTS["ja"]),
        ("th", "ประภาคาร ตะเกียง", TEXTS["th"]),
        ("zh", "灯塔 管理员", TEXTS["zh"]),
    ],
)
def test_forms_of_a_word_are_found_in_its_language(language, query, text):
    embedder = Bm25Embedder()
    words = set(embedder.embed_query(query, [language]).indices)
    assert words
    assert words <= set(embedder.embed(text, language).indices)


def test_stop_words_are_those_of_the_language():
    for language, text in [("de", "der und die"), ("fr", "le la et"), ("ru", "и в на")]:
        assert Bm25Embedder().embed(text, language).indices == ()
        assert Bm25Embedder().embed(text, "pl").indices != ()


def test_a_query_is_analysed_in_each_language_once():
    embedder = Bm25Embedder()
    both = embedder.embed_query("Häuser houses", ["de", "en", "", "de"])
    for language in ("de", "en"):
        assert set(embedder.embed_query("Häuser houses", [language]).indices) < set(both.indices)
    weights = dict(zip(both.indices, both.values, strict=True))
    for language, weight in [("de", 1.0), ("en", 0.5)]:
        (word,) = embedder.embed_query("Häusern", [language]).indices
        query = embedder.embed_query("In welchen Häusern wohnen die Wärter?", ["de", "en"])
        assert dict(zip(query.indices, query.values, strict=True))[word] == weight
    assert set(weights.values()) <= {0.5, 1.0}
    everything = embedder.embed_query("Häuser", [*NAMES, "pl"])
    assert len(everything.indices) == len(set(everything.indices))


def test_highlights_follow_the_language_of_the_text():
    highlighter = Highlighter("Haus houses", Bm25Embedder(), ["de", "en"])
    for language, text, expected in [
        ("de", "Die Häuser", ["Häuser"]),
        ("en", "a house, Häuser", ["house"]),
    ]:
        found = [text[start:end] for start, end in highlighter.spans(text, language)]
        assert found == expected


@pytest.mark.parametrize(
    ("language", "text", "phrase"),
    [
        ("ja", "パッケージは依存関係を解決する。依存関係が壊れると警告が出る。", "依存関係"),
        ("zh", "软件包管理系统会解决依赖关系。如果依赖关系损坏，管理系统会显示警告。", "依赖关系"),
        ("th", "ประภาคารที่ท่าเรือสูง ท่าเรือมีประภาคารเก่า", "ประภาคาร"),
    ],
)
def test_keyphrases_of_scripts_without_spaces_are_words(language, text, phrase):
    found = KeyphraseExtractor().extract(text, language)
    assert phrase in found.entities
    assert found.relations
    assert all(unicodedata.category(key[0]) != "Mn" for key in found.entities)


def test_keyphrases_leave_out_stop_words_of_the_language():
    text = "Der Wärter zündet die Lampen an. Die Lampen der Gemeinde leuchten am Hafen."
    phrases = KeyphraseExtractor().extract(text, "de").entities
    assert any("lampen" in phrase for phrase in phrases)
    for phrase in phrases:
        assert not {phrase.split()[0], phrase.split()[-1]} & {"der", "die", "am"}


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
def test_documents_of_many_languages_are_found_by_other_forms_of_their_words():
    for code, text in TEXTS.items():
        ingested(text.encode(), f"{code}.txt")
    assert indexed_languages() == sorted(TEXTS)
    for query, code, marked in [
        ("Haus", "de", "Häuser"),
        ("lighting", "en", "lights"),
        ("лампа", "ru", "лампы"),
        ("lámpara", "es", "lámparas"),
        ("ランプ", "ja", "ランプ"),
        ("委员会", "zh", "委员会"),
        ("ตะเกียง", "th", "ตะเกียง"),
    ]:
        hit = search(query)[0]
        assert (hit.document_name, hit.language) == (f"{code}.txt", code)
        assert f"<mark>{marked}</mark>" in hit.html


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
def test_index_of_before_is_searched_as_before_and_rebuilt_with_languages():
    document_id = ingested(TEXTS["de"].encode(), "de.txt")
    document = Document.objects.get()
    store = EmbeddedVectors()
    ((key, payload),) = next(store.stored())
    former = {name: value for name, value in payload.items() if name != "language"}
    english = Bm25Embedder().embed(payload["text"])
    store.write_points([(key, Embedding(english), former)])
    IndexedLanguage.objects.all().delete()
    migration = importlib.import_module(
        "ingestion_progress.pipeline.migrations.0011_indexed_languages"
    )
    migration.add_unknown_language(apps, SimpleNamespace(connection=connection))
    assert indexed_languages() == [""]
    assert key == point_id(document_id, document.published_epoch, "c-1")
    assert search("Haus") == []
    (hit,) = search("Häuser")
    assert hit.language == ""
    call_command("rebuild_search_index", stdout=io.StringIO())
    assert indexed_languages() == ["de"]
    (hit,) = search("Haus")
    assert (hit.language, hit.document_name) == ("de", "de.txt")


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
def test_language_of_an_upload_is_that_of_its_chunks_and_of_its_next_jobs(client):
    text = TEXTS["de"].encode()

    def uploaded(**fields):
        data = {"file": io.BytesIO(text), **fields}
        data["file"].name = "a.txt"
        response = client.post("/api/v1/admin/ingestion/jobs", data)
        assert response.status_code in (200, 201), response.content
        if response.status_code == 201:
            ingest(response.json()["job_id"])
        return response.json()

    uploaded(language="sv")
    assert {hit.language for hit in search("Häuser")} == {"sv"}
    assert search("Haus") == []
    document = client.get("/api/v1/documents").json()["items"][0]
    assert document["language"] == "sv"
    again = ingest_again(document["document_id"])
    ingest(again.pk)
    assert {hit.language for hit in search("Häuser")} == {"sv"}
    assert uploaded()["is_known"]
    assert not uploaded(language="de")["is_known"]
    assert {hit.language for hit in search("Haus")} == {"de"}
    assert uploaded(language="de")["is_known"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
def test_wrong_language_of_an_upload_is_refused(client, tmp_path):
    data = {"file": io.BytesIO(b"text"), "language": "german"}
    data["file"].name = "a.txt"
    error = refusal(client.post("/api/v1/admin/ingestion/jobs", data), 422, "invalid_request")
    assert [entry.field for entry in error.errors] == ["language"]
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(CommandError, match="german is not a code of ISO 639"):
        call_command("ingest", str(tmp_path / "a.txt"), "--language=german")
    with pytest.raises(ValueError, match="german"):
        receive(io.BytesIO(b"text"), name="a.txt", language="german")
    call_command("ingest", str(tmp_path / "a.txt"), "--language=de", stdout=io.StringIO())
    assert Document.objects.get().language == "de"
