"""Each journey with nothing but the keyboard: from the first Tab to the result."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.chromium import OpenPage, tab_to
from tests.support.live import LiveProject
from tests.support.simulated import simulated

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

QUEUED = """
import sys
from ingestion_progress.tracker import queue_job
batch, *names = sys.argv[1:]
for name in names:
    queue_job(name, job_id=f"{batch}-{name}", batch=batch, task="a.task")
"""
PARTIAL = """
import sys
from ingestion_progress import track
from ingestion_progress.models import Job
with track("part.pdf", job_id=sys.argv[1], stages=["parsing"]) as job:
    with job.stage("parsing", total=2, unit="pages") as stage:
        stage.advance(1, key=1)
        stage.record_error("No text layer", item="page 2", key=2)
Job.objects.filter(pk=sys.argv[1]).update(task="a.task")
"""


def press(page: Page, target: Locator, key: str = "Enter") -> None:
    tab_to(page, target)
    page.keyboard.press(key)


def test_documents_are_uploaded_and_watched(open_page: OpenPage, tmp_path: Path):
    paths = [tmp_path / f"{name}.txt" for name in ("one", "two")]
    for path in paths:
        path.write_text(f"A few words about {uuid.uuid4().hex}.")
    page = open_page("/")
    tab_to(page, page.get_by_label("Upload documents"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(paths)
    press(page, page.get_by_role("button", name="Upload", exact=True))
    summary = page.locator("#upload-summary")
    expect(summary).to_contain_text("2 uploaded", timeout=30_000)
    press(page, summary.get_by_role("link"))
    page.wait_for_url("**/?batch=*")
    press(page, page.get_by_role("link", name="one.txt"))
    page.wait_for_url("**/jobs/*/")
    element = page.locator("pipeline-progress")
    expect(element).to_have_attribute("data-connection", "live", timeout=30_000)


def test_running_job_is_cancelled_after_a_confirmation(
    open_page: OpenPage, sqlite_project: LiveProject
):
    with simulated(sqlite_project) as job_id:
        page = open_page(f"/jobs/{job_id}/")
        element = page.locator("pipeline-progress")
        expect(element).to_have_attribute("data-connection", "live", timeout=30_000)
        press(page, page.get_by_role("button", name="Cancel job…"))
        dialog = page.get_by_role("dialog", name="Cancel this job?")
        press(page, dialog.get_by_role("button", name="Cancel job"))
        expect(element).to_have_attribute("data-status", "cancelled", timeout=30_000)


def test_confirmation_without_javascript_waits_for_an_answer(
    open_page: OpenPage, sqlite_project: LiveProject
):
    with simulated(sqlite_project) as job_id:
        page = open_page(f"/jobs/{job_id}/", java_script_enabled=False)
        page.get_by_role("button", name="Cancel job…").press("Enter")
        question = page.get_by_role("heading", name="Cancel this job?")
        expect(question).to_be_visible()
        page.wait_for_timeout(6_000)  # the page of the job reloads after five seconds
        expect(question).to_be_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_text("It stops after its current item")).not_to_be_visible()
        expect(page.get_by_role("button", name="Cancel job…")).to_have_count(0)


def test_failed_items_are_retried(open_page: OpenPage, sqlite_project: LiveProject):
    sqlite_project.ask(PARTIAL, "partial-keys")
    page = open_page("/jobs/partial-keys/")
    press(page, page.get_by_role("button", name="Retry failed items"))
    expect(page.locator(".notice:visible")).to_contain_text("attempt 2 of")
    press(page, page.get_by_text("Stages of attempt 1"))
    expect(page.locator(".attempt-stage")).to_contain_text("1 failed")


def test_selected_jobs_are_cancelled_and_deleted(open_page: OpenPage, sqlite_project: LiveProject):
    sqlite_project.ask(QUEUED, "chosen-keys", "a.pdf", "b.pdf", "c.pdf")
    page = open_page("/?batch=chosen-keys")
    for name in ("a.pdf", "b.pdf"):
        box = page.get_by_role("checkbox", name=f"Select {name}")
        tab_to(page, box, "Tab" if name == "a.pdf" else "Shift+Tab")
        page.keyboard.press("Space")
        expect(box).to_be_checked()
    press(page, page.locator("#selection").get_by_role("button", name="Cancel"))
    expect(page.locator(".message")).to_contain_text("2 jobs")
    expect(page.locator('.job[data-status="cancelled"]')).to_have_count(2)
    press(page, page.get_by_role("checkbox", name="Select a.pdf"), "Space")
    press(page, page.locator("#selection").get_by_role("button", name="Delete…"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Delete")
    press(page, page.locator("main .button-danger"))
    expect(page.locator(".message")).to_contain_text("1 job")
    expect(page.get_by_role("link", name="a.pdf")).to_have_count(0)


def test_list_is_searched_filtered_and_sorted(open_page: OpenPage, sqlite_project: LiveProject):
    sqlite_project.ask(QUEUED, "sorted-keys", "first.pdf", "second.pdf", "other.txt")
    page = open_page("/")
    tab_to(page, page.get_by_role("searchbox", name="Name, id or batch"))
    page.keyboard.type("sorted-keys")
    tab_to(page, page.get_by_label("Status"))
    page.keyboard.type("Queued")
    tab_to(page, page.get_by_label("Order"))
    page.keyboard.press("ArrowDown")
    press(page, page.locator("form.search").get_by_role("button", name="Search"))
    page.wait_for_url("**/?*sort=oldest*")
    names = page.locator("main .job [data-field='job.document_name'], main .job .job-name")
    expect(page.locator("main .job")).to_have_count(3)
    expect(names.first).to_contain_text("first")
    press(page, page.get_by_role("link", name="Clear"))
    expect(page.get_by_role("searchbox", name="Name, id or batch")).to_have_value("")


def test_batch_gets_a_name(open_page: OpenPage, sqlite_project: LiveProject):
    sqlite_project.ask(QUEUED, "renamed-keys", "a.pdf")
    page = open_page("/?batch=renamed-keys")
    press(page, page.get_by_text("Name and limit"))
    tab_to(page, page.get_by_role("textbox", name="Name", exact=True))
    page.keyboard.type("Night")
    press(page, page.get_by_role("button", name="Save"))
    expect(page.locator("#batch-name")).to_have_text("Night")
