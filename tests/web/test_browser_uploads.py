"""Uploads in a real browser: chosen, pasted, dropped, and with their folders."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.chromium import OpenPage

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

NETWORK = ("Failed to load resource", "net::ERR")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two texts of which one is in a folder, an empty one, and others that nobody would ingest."""
    new = uuid.uuid4().hex  # the same content would be known from another test
    found = tmp_path / "Contracts"
    (found / "old").mkdir(parents=True)
    (found / "one.txt").write_text(f"A few words about {new}.")
    (found / "old" / "two.md").write_text(f"# Two\n\n{new}")
    (found / "empty.txt").write_text("")
    (found / "scan.png").write_bytes(b"\x89PNG")
    (found / ".hidden.txt").write_text(new)
    return found


def texts_of(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.rglob("[!.]*.[tm]*"))]


def upload(page: Page, *paths: str) -> None:
    page.get_by_label("Upload documents").set_input_files(list(paths))
    page.get_by_role("button", name="Upload", exact=True).click()


def summary(page: Page) -> Locator:
    return page.locator("#upload-summary p")


def drop(page: Page, path: Path, *, x: int = 5, y: int = 500) -> None:
    """As from the desktop, beside the form."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        if kind == "drop":
            expect(page.get_by_text("Drop files or folders to upload them")).to_be_visible()
        session.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})


def test_upload_ends_in_one_line_that_leads_to_the_batch(open_page: OpenPage, folder: Path):
    page = open_page("/", errors=NETWORK)
    upload(page, *texts_of(folder))
    expect(summary(page)).to_contain_text("2 uploaded, 1 refused")
    page.get_by_text("1 file refused").click()
    expect(page.locator(".upload-item")).to_have_count(1)
    expect(page.locator(".upload-item")).to_contain_text("empty.txt")
    said = [text for text in page.evaluate("recorded.said") if "upload" in text.lower()]
    assert said == ["Uploading 3 files", "2 uploaded, 1 refused"]
    page.get_by_role("link", name="Open batch").click()
    expect(page.locator("#batch-name")).to_have_text("3 documents")
    assert sorted(page.locator(".job-name").all_inner_texts()) == ["one.txt", "two.md"]


def test_dropped_folder_becomes_a_batch_with_its_name(open_page: OpenPage, folder: Path):
    page = open_page("/", errors=NETWORK)
    drop(page, folder)
    expect(summary(page)).to_contain_text("2 uploaded, 1 refused, 1 of other formats skipped")
    expect(page.get_by_text("Drop files or folders to upload them")).to_be_hidden()
    page.get_by_role("link", name="Open batch").click()
    expect(page.locator("#batch-name")).to_have_text("Contracts")


def test_chosen_folder_is_uploaded(open_page: OpenPage, folder: Path):
    page = open_page("/", errors=NETWORK)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a folder…").click()
    chooser.value.set_files(folder)
    expect(summary(page)).to_contain_text("2 uploaded, 1 refused, 1 of other formats skipped")


def test_pasted_file_is_uploaded_and_its_job_linked(open_page: OpenPage):
    page = open_page("/")
    page.evaluate(
        """(text) => {
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([text], "pasted.txt"));
          document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true}));
        }""",
        uuid.uuid4().hex,
    )
    expect(summary(page)).to_contain_text("1 uploaded")
    page.get_by_role("link", name="Open job").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("pasted.txt")


def test_content_that_was_uploaded_before_links_to_its_job(open_page: OpenPage, folder: Path):
    page = open_page("/")
    for text in ("1 uploaded", "Nothing to do: this content was uploaded before"):
        upload(page, str(folder / "one.txt"))
        expect(summary(page)).to_contain_text(text)
    page.get_by_role("link", name="Open job").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("one.txt")


def test_metadata_of_the_form_is_stored(open_page: OpenPage, folder: Path):
    page = open_page("/")
    page.get_by_text("Metadata", exact=True).click()
    page.get_by_label("A JSON object").fill('{"team": "legal"}')
    upload(page, str(folder / "one.txt"))
    page.get_by_role("link", name="Open job").click()
    page.get_by_role("heading", name="Details").click()
    expect(page.get_by_text("legal")).to_be_visible()


def test_upload_shows_its_progress_and_can_be_stopped(open_page: OpenPage, tmp_path: Path):
    large = tmp_path / "large.txt"
    large.write_bytes(b"words of a large document, again and again. " * 500_000)
    page = open_page("/")
    session = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2_000_000}
    session.send("Network.emulateNetworkConditions", slow)
    upload(page, str(large))
    bar = page.locator("#upload-summary progress")
    expect(bar).to_be_visible()
    expect(bar).not_to_have_attribute("value", "0")
    page.get_by_role("button", name="Stop").click()
    expect(summary(page)).to_contain_text("1 stopped")
    expect(bar).to_be_hidden()


def test_broken_connection_can_be_tried_again(open_page: OpenPage, folder: Path):
    page = open_page("/", errors=NETWORK)
    jobs = "**/api/v1/admin/ingestion/jobs"
    page.route(jobs, lambda route: route.abort())
    upload(page, str(folder / "one.txt"))
    expect(summary(page)).to_contain_text("1 refused")
    page.unroute(jobs)
    page.get_by_role("button", name="Try again").click()
    expect(summary(page)).to_contain_text("1 uploaded")
    expect(page.locator(".upload-item")).to_have_count(0)


def test_document_above_the_limit_is_not_sent(open_page: OpenPage, folder: Path):
    page = open_page("/")
    page.evaluate("document.getElementById('upload').dataset.maxBytes = '4'")
    sent = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    upload(page, str(folder / "one.txt"))
    page.get_by_text("1 file refused").click()
    expect(page.locator(".upload-item")).to_contain_text("Not sent")
    assert sent == []


def test_documents_upload_without_javascript(open_page: OpenPage, folder: Path):
    page = open_page("/", java_script_enabled=False)
    expect(page.get_by_text("Choose a folder…")).to_be_hidden()
    upload(page, *texts_of(folder))
    expect(page.locator('.message[data-level="success"]')).to_have_count(2)
    expect(page.locator('.message[data-level="error"]')).to_contain_text("empty.txt")
