"""Errors, actions and details on the page of a job, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.support.chromium import OpenPage, has_horizontal_scroll
from tests.support.live import LiveProject

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

WORD = "W" * 60
# Stays alive, so that the page is open while errors occur.
FAILING = """
import sys, time
from ingestion_progress import track
with track("bad.pdf", job_id=sys.argv[1], stages=["parsing"]) as job:
    with job.stage("parsing", total=40, unit="pages") as stage:
        for page in stage.iterate(range(40)):
            time.sleep(0.1)
            stage.record_error(f"Page {page} has no text layer", item=f"page {page}")
    time.sleep(60)
"""
PARTIAL = """
import sys
from ingestion_progress import track
word = sys.argv[2]
name = f"{word} \u0645\u0631\u062d\u0628\u0627 \U0001f41d.pdf"
with track(name, job_id=sys.argv[1], stages=["parsing"]) as job:
    for page in job.stage("parsing").iterate(range(1000)):
        job.stage("parsing").record_error(
            f"{word} {chr(97 + page % 26)} failed", kind=word, item=f"{word} {page}"
        )
print("null")
"""


@pytest.fixture(scope="module", autouse=True)
def partial(sqlite_project: LiveProject) -> None:
    sqlite_project.ask(PARTIAL, "many-errors", WORD)


def test_errors_appear_on_the_open_page_and_stay_open_while_they_grow(
    open_page: OpenPage, sqlite_project: LiveProject
):
    process = sqlite_project.python(FAILING, "grows")
    sqlite_project.wait_for_job("grows", 30)
    page = open_page("/jobs/grows/")
    group = page.locator(".error-group")
    expect(group).to_have_count(1)
    group.get_by_text("Examples").click()
    expect(group.locator(".error-count")).to_have_text("40\xa0×", timeout=30_000)
    expect(group.locator("details")).to_have_attribute("open", "")
    assert page.evaluate("recorded.violations") == []
    process.kill()


# Both numbers at the same moment.
ERRORS = """() => ({
  all: Number(document.querySelector("[data-metric=error_count] [data-field='metric.value']")
    .textContent),
  card: document.querySelector(".attention .card-note").textContent.match(/[0-9]+/g).map(Number),
})"""


def test_card_of_errors_and_the_metric_never_differ(
    open_page: OpenPage, sqlite_project: LiveProject
):
    process = sqlite_project.python(FAILING, "counted")
    sqlite_project.wait_for_job("counted", 30)
    page = open_page("/jobs/counted/")
    expect(page.locator(".attention .card-note")).to_contain_text(" newer")
    seen = []
    while not seen or seen[-1]["all"] < 40:
        seen.append(page.evaluate(ERRORS))
        page.wait_for_timeout(50)
    # What the server has just rendered may be ahead of the stream.
    assert all(sum(each["card"]) >= each["all"] for each in seen)
    expect(page.locator(".attention .card-note")).to_have_text("40 errors", timeout=20_000)
    process.kill()


@pytest.mark.parametrize("width", [320, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_thousand_errors_with_long_words_fit_the_window(
    open_page: OpenPage, width: int, scheme: str
):
    page = open_page(
        "/jobs/many-errors/", viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    expect(page.locator(".attention")).to_contain_text("1,000 errors of 26 kinds")
    page.get_by_text("22 more").click()
    expect(page.locator(".error-group:visible")).to_have_count(26)
    assert not has_horizontal_scroll(page)


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.textContent.trim()")


@pytest.mark.parametrize("script", [True, False])
def test_job_is_deleted_by_keyboard_after_a_confirmation(
    open_page: OpenPage, sqlite_project: LiveProject, script: bool
):
    job_id = f"to-delete-{script}"
    sqlite_project.ask(PARTIAL, job_id, "short")
    page = open_page(f"/jobs/{job_id}/", java_script_enabled=script)
    page.get_by_role("button", name="Delete…").press("Enter")
    role = "dialog" if script else "heading"  # without scripts it is a page
    expect(page.get_by_role(role, name="Delete this job?")).to_be_visible()
    if script:
        assert focused(page) == "Keep it"  # evaluating needs scripts
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".message")).to_contain_text("is deleted.")
    expect(page).to_have_url("/")


def test_details_are_folded_at_the_end(open_page: OpenPage):
    page = open_page("/jobs/many-errors/")
    link = page.get_by_role("link", name="Server-Sent Events")
    expect(link).to_be_hidden()
    page.get_by_role("heading", name="Details").click()
    expect(link).to_be_visible()
    last = page.evaluate("document.querySelector('.job-side > :last-child').className")
    assert last == "card links"
