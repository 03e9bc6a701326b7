"""Components that settings name: those of docs/howto/components.md, and wrong ones."""

from __future__ import annotations

import base64
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from ingestion_progress.pipeline.checks import check_components
from ingestion_progress.pipeline.models import Entity
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.search.rebuild import rebuild_search_index
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.chunking import SemanticChunker
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from tests.pipeline.stages.test_pictures import picture
from tests.pipeline.test_ingestion import ingested
from tests.support.documents import storage  # noqa: F401
from tests.support.live import ROOT

PAGE = ROOT / "docs" / "howto" / "components.md"
FILES = re.compile(r"```python\n# my_app/(\w+)\.py\n(.*?)```", re.DOTALL)


@pytest.fixture
def my_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with the files that the page shows."""
    package = tmp_path / "my_app"
    package.mkdir()
    for name, content in FILES.findall(PAGE.read_text()):
        (package / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "my_app"]:
        del sys.modules[name]


@pytest.mark.usefixtures("storage", "my_app")
@pytest.mark.django_db(transaction=True)
def test_the_components_of_the_page_are_used_by_ingestion_search_and_rebuild(settings):
    text = b"The bees of ticket BEE-12 make honey, says WASP-7."
    ingested(text, "a.txt")
    assert search("hony") == []
    settings.INGESTION_PROGRESS_EMBEDDER = "my_app.embedders.TrigramEmbedder"
    settings.INGESTION_PROGRESS_EXTRACTOR = "my_app.extractors.TicketExtractor"
    assert rebuild_search_index() == 1
    assert [hit.document_name for hit in search("hony")] == ["a.txt"]
    ingested(text + b" It is summer.", "b.txt")
    assert {hit.document_name for hit in search("hony")} == {"a.txt", "b.txt"}
    names = Entity.objects.filter(document__name="b.txt").values_list("name", flat=True)
    assert set(names) == {"BEE-12", "WASP-7"}
    assert list(check_components()) == []


@pytest.mark.usefixtures("storage", "my_app")
@pytest.mark.django_db(transaction=True)
def test_the_describer_of_the_page_sees_pictures(settings):
    settings.INGESTION_PROGRESS_DESCRIBER = "my_app.describers.BrightnessDescriber"
    white = base64.b64encode(picture((255, 255, 255))).decode()
    ingested(f"<img src='data:image/png;base64,{white}'><img src='a.png'>".encode(), "a.html")
    assert [hit.text for hit in search("bright")] == ["Picture 1 is bright."]
    assert [hit.text for hit in search("png")] == ["Picture 2: a.png"]


class RecordingVectors(EmbeddedVectors):
    documents: ClassVar[list[str]] = []

    def write(self, document, epoch, chunks):
        self.documents.append(document.name)
        return super().write(document, epoch, chunks)


@pytest.mark.usefixtures("storage")
@pytest.mark.django_db(transaction=True)
def test_a_vector_store_of_the_settings_is_written_and_searched(settings):
    settings.INGESTION_PROGRESS_VECTOR_STORE = f"{__name__}.RecordingVectors"
    ingested(b"Bees make honey.", "a.txt")
    assert RecordingVectors.documents == ["a.txt"]
    assert len(search("honey")) == 1


def test_a_path_that_cannot_be_imported_is_an_error_that_names_the_setting(settings):
    assert list(check_components()) == []
    settings.INGESTION_PROGRESS_EMBEDDER = "my_app.nowhere.Embedder"
    settings.INGESTION_PROGRESS_PARSERS = {"text/plain": "nowhere.Parser"}
    embedder, parser = check_components()
    assert embedder.id == parser.id == "ingestion_pipeline.E005"
    assert embedder.msg.startswith("INGESTION_PROGRESS_EMBEDDER cannot be imported: ")
    assert parser.msg.startswith("INGESTION_PROGRESS_PARSERS, text/plain, cannot be imported: ")


def test_a_command_refuses_to_run_with_it(settings):
    settings.INGESTION_PROGRESS_EMBEDDER = "my_app.nowhere.Embedder"
    with pytest.raises(SystemCheckError, match="E005"):
        call_command("check")


def test_chunks_have_the_size_and_the_overlap_of_the_settings(settings):
    words = " ".join(f"word{number:04}" for number in range(400))
    settings.INGESTION_PROGRESS_CHUNK_CHARACTERS = 300
    page = Page(number=None, text=words)
    plain = list(SemanticChunker().chunks(page, 1))
    assert max(len(chunk.text) for chunk in plain) <= 300 * 1.12 + 2
    assert len(plain) == pytest.approx(SemanticChunker().expected(page), rel=0.5)
    settings.INGESTION_PROGRESS_CHUNK_OVERLAP_CHARACTERS = 60
    overlapping = list(SemanticChunker().chunks(page, 1))
    assert [chunk.end for chunk in overlapping] == [chunk.end for chunk in plain]
    assert overlapping[0] == plain[0]
    for before, chunk in pairwise(overlapping):
        repeated = before.text.split()[-1]
        assert repeated in chunk.text.split()
        assert chunk.text == words[chunk.start : chunk.end]
        assert 0 < before.end - chunk.start <= 60
        assert chunk.text.startswith("word")
