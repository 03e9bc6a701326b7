"""The search in a real browser: from the header of a page to a passage in its document."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.chromium import OpenPage, has_horizontal_scroll, tab_to
from tests.support.live import LiveProject

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

WORD = "Hottentottenstottertrottel" * 3
IN_VIEW = """(element) => {
  const {top, bottom} = element.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
}"""


@pytest.fixture(scope="module", autouse=True)
def _ingested(sqlite_project: LiveProject, tmp_path_factory: pytest.TempPathFactory) -> None:
    file: Path = tmp_path_factory.mktemp("documents") / f"{WORD} مرحبا 🐝.md"
    sections = [
        f"# Section {number}\n\n" + f"The {WORD} carries parcels for the lighthouse {number}. " * 9
        for number in range(60)
    ]
    sections[50] += "\n\n# The end\n\nA quokkabee sleeps in the lighthouse. النحل يصنع العسل."
    file.write_text("\n\n".join(sections))
    sqlite_project.manage("ingest", str(file))


@pytest.mark.parametrize("script", [True, False])
def test_words_in_the_header_lead_to_the_passage_in_its_document(open_page: OpenPage, script: bool):
    page = open_page("/", java_script_enabled=script)
    box = page.get_by_role("searchbox", name="Search documents")
    box.fill("quokkabee")
    box.press("Enter")
    hit = page.locator(".hit")
    expect(hit).to_have_count(1)
    expect(hit.locator("mark")).to_have_text("quokkabee")
    hit.locator(".hit-document").click()
    page.wait_for_url("**/documents/**")
    chunk = page.locator(".chunk:target")
    expect(chunk).to_contain_text("A quokkabee sleeps in the lighthouse.")
    if script:  # evaluating needs scripts
        assert chunk.evaluate(IN_VIEW)


def test_passage_is_found_with_the_keyboard(open_page: OpenPage):
    page = open_page("/")
    box = page.get_by_role("searchbox", name="Search documents")
    tab_to(page, box)
    page.keyboard.type("quokkabee")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search/*")
    tab_to(page, page.locator(".hit-document"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/documents/**")
    expect(page.locator(".chunk:target")).to_contain_text("A quokkabee sleeps")


def test_filters_and_pages_are_in_the_address_and_survive_back(open_page: OpenPage):
    page = open_page("/search/")
    expect(page.get_by_role("searchbox", name="Words")).to_be_focused()
    page.keyboard.type("lighthouse")
    page.get_by_label("Type").select_option("Markdown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search/?*media_type=text%2Fmarkdown*")
    page.get_by_role("link", name="More matches").click()
    expect(page.get_by_text("Passages 11 to 20")).to_be_visible()
    page.get_by_role("link", name="Only this document").first.click()
    expect(page.get_by_role("checkbox", name="Only Hottentotten")).to_be_checked()
    page.go_back()
    expect(page.get_by_text("Passages 11 to 20")).to_be_visible()
    expect(page.get_by_label("Type")).to_have_value("text/markdown")


@pytest.mark.parametrize("width", [320, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_state_fits_the_window(open_page: OpenPage, width: int, scheme: str):
    page = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme, errors=("400",))
    for query in ("", "?q=lighthouse", "?q=zzyzx", f"?q={WORD}&document={'x' * 300}"):
        page.goto(f"/search/{query}")
        expect(page.get_by_role("heading", name="Search")).to_be_visible()
        assert not has_horizontal_scroll(page)
    assert page.evaluate("recorded.violations") == []
