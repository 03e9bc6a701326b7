"""The result of a job in a real browser: it grows, fits the window and moves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.chromium import OpenPage, has_horizontal_scroll
from tests.support.live import LiveProject

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

GROWING = """
import io, sys, time
from ingestion_progress import track
from ingestion_progress.pipeline.documents.editions import claim, publish
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages import Chunk, Embedding, Extraction
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.stores import graph_store, vector_store
from ingestion_progress.pipeline.uploads.receive import receive
file = io.BytesIO(b"Bees make honey.")
job = receive(file, name="growing.txt", document_id="growing", is_enqueued=False)
document = Document.objects.get(pk="growing")
print(job.pk, flush=True)
with track("growing.txt", job_id=job.pk, document_id="growing", restart=True) as tracker:
    claim(tracker, document)
    graph = graph_store().writer(document.pk, tracker.job_id, tracker.epoch)
    for number in range(1, 1000):
        chunk = Chunk(key=f"c-{number}", text=f"Bees make honey {number}.", page=1)
        embedding = Embedding(Bm25Embedder().embed(chunk.text))
        vector_store().write(document, tracker.epoch, [(chunk, embedding)])
        graph.write([(chunk, Extraction({"bees": "Bees"}, ()))])
        tracker.set_totals(chunks=number)
        time.sleep(0.5)
        if number >= 4 and open(sys.argv[1]).read():
            break
    publish(tracker, document)
"""
WORD = "Donaudampfschiff" * 4


@pytest.fixture(scope="module")
def ingested(sqlite_project: LiveProject, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a job whose document has a right-to-left name, long words and many chunks."""
    file: Path = tmp_path_factory.mktemp("documents") / f"{WORD} مرحبا 🐝.md"
    sections = [
        f"# Section {number}\n\nThe {WORD} carries honey for apiary {number}. " * 12
        for number in range(30)
    ]
    file.write_text("\n\n".join([*sections, "# The end\n\nA zyzzyva sleeps here."]))
    sqlite_project.manage("ingest", str(file))
    source = "import json\nfrom ingestion_progress.models import Job\n"
    source += "print(json.dumps(Job.objects.get(document_name__startswith='Donau').pk))"
    return str(sqlite_project.ask(source))


def test_result_grows_on_the_open_page_until_search_shows_it(
    open_page: OpenPage, sqlite_project: LiveProject, tmp_path: Path
):
    end = tmp_path / "end"
    end.write_text("")
    sqlite_project.python(GROWING, str(end))
    page = open_page("/")
    page.get_by_role("link", name="growing.txt").click(timeout=30_000)
    number = page.locator("#result .result-counts dd").first
    expect(number).to_be_visible(timeout=20_000)
    before = number.inner_text()
    expect(number).not_to_have_text(before, timeout=20_000)
    expect(page.locator("#result .chunk").first).to_contain_text("Bees make honey 1.")
    assert page.evaluate("recorded.violations") == []
    note = page.locator("#result .card-note")
    expect(note).to_have_text("Search shows it when the job has succeeded.")
    end.write_text("now")
    expect(note).to_have_text("Search shows it.", timeout=20_000)
    page.get_by_role("searchbox", name="Search this document").fill("honey 3")
    page.keyboard.press("Enter")
    expect(page.locator(".hit").first).to_contain_text("Bees make honey 3.")


@pytest.mark.parametrize("width", [320, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_long_and_right_to_left_names_fit_the_window(
    open_page: OpenPage, ingested: str, width: int, scheme: str
):
    page = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    for path in (f"/jobs/{ingested}/", f"/jobs/{ingested}/result/"):
        page.goto(path)
        expect(page.locator(".result-counts")).to_be_visible()
        assert not has_horizontal_scroll(page)
    page.get_by_role("link", name="Document", exact=True).click()
    page.wait_for_url("**/documents/**")
    expect(page.get_by_role("heading", name="Chunks")).to_be_visible()
    assert not has_horizontal_scroll(page)


def test_result_that_appears_moves_nothing(open_page: OpenPage, ingested: str):
    page = open_page(f"/jobs/{ingested}/")
    expect(page.locator("#result .result-counts")).to_be_visible()
    page.wait_for_timeout(500)
    assert page.evaluate("recorded.shifts") < 0.05


def test_without_javascript_a_link_leads_to_the_result(open_page: OpenPage, ingested: str):
    page = open_page(f"/jobs/{ingested}/", java_script_enabled=False)
    page.get_by_role("link", name="Chunks, entities and relations").click()
    expect(page.locator(".chunk").first).to_contain_text("Section 0")
    page.get_by_role("link", name="Later").click()
    expect(page.locator(".pagination span")).to_contain_text("2 of ")


@pytest.mark.parametrize(("width", "is_beside"), [(1280, False), (1920, True)])
def test_wide_window_has_the_result_and_the_log_beside_the_job(
    open_page: OpenPage, ingested: str, width: int, is_beside: bool
):
    page = open_page(f"/jobs/{ingested}/", viewport={"width": width, "height": 900})
    job = page.locator("pipeline-progress").bounding_box()
    for name in ("#result", "#log"):
        part = page.locator(name).bounding_box()
        assert (part["x"] > job["x"] + job["width"]) is is_beside
