"""The list stays up to date in a real browser, writes only what differs, and moves nothing."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.support.chromium import OpenPage
from tests.support.live import LiveProject
from tests.support.running_jobs import RUN, SHIFT, WATCH

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

JOBS = """
import sys
from ingestion_progress.models.statuses import JobStatus
from tests.support.page_jobs import job_with
status, batch, first, count = sys.argv[1:]
for number in range(int(first), int(first) + int(count)):
    job_with(JobStatus(status), job_id=f"{batch}-{number}", batch="" if batch == "alone" else batch)
print("null")
"""
# Jobs of this batch have none: a batch is one row.
ALONE = "alone"
BATCH = """
import sys
from ingestion_progress.models import Batch
Batch.objects.create(id=sys.argv[1])
print("null")
"""
ADVANCE = """
import sys
from django.db.models import F
from django.utils import timezone
from ingestion_progress.models import Job
now = timezone.now()
Job.objects.filter(pk=sys.argv[1]).update(
    reached_percent=sys.argv[2], revision=F("revision") + 1, updated_at=now, heartbeat_at=now
)
print("null")
"""
END = """
import sys
from ingestion_progress.tracker import fail_job
fail_job(sys.argv[1], "No text.")
print("null")
"""


def store(project: LiveProject, status: str, batch: str, *, first: int = 0, count: int = 1) -> None:
    project.ask(JOBS, status, batch, str(first), str(count))


def settled(page: Page) -> Page:
    page.wait_for_timeout(2_500)  # the requests of the start are done
    return page


def test_of_fifty_running_jobs_nothing_is_written_twice_and_little_shifts(
    open_page: OpenPage, own_project: LiveProject
):
    """Each changes twice a second, and jobs end and begin. Jobs that other tests left in a shared
    project would run, and get lost, on the page.
    """
    site = own_project.serve("daphne")
    store(own_project, "succeeded", ALONE, count=5)
    writer = own_project.python(RUN, "50", "4")
    try:
        page = open_page(f"{site.url}/")
        running = page.locator('[data-group="running"] .job')
        expect(running).to_have_count(50, timeout=30_000)
        since = settled(page).evaluate("performance.now()")
        page.evaluate(WATCH)
        shown = set(running.evaluate_all("(rows) => rows.map(({dataset}) => dataset.job)"))
        for name in ("new-2.pdf", "new-3.pdf"):
            link = running.get_by_role("link", name=name)
            expect(link).to_be_visible(timeout=30_000)
        writes = page.evaluate("writes")
        shift = page.evaluate(SHIFT, since)
    finally:
        writer.kill()
    # "4 jobs have ended" may be said twice: of other jobs.
    shown_twice = [each for each in writes if each["isSame"] or each["isRepeated"]]
    assert [each for each in shown_twice if each["what"] != "visually-hidden"] == []
    rows = {write["row"] for write in writes} - {None}
    assert len(rows & shown) > 40
    assert not any(row.startswith(ALONE) for row in rows)
    assert shift < 0.05


def test_list_without_running_jobs_is_not_written(open_page: OpenPage, sqlite_project: LiveProject):
    store(sqlite_project, "succeeded", "ended", count=5)
    page = settled(open_page("/?batch=ended"))
    page.evaluate(WATCH)
    page.wait_for_timeout(3_000)
    assert page.evaluate("writes") == []


def test_batches_are_live_and_a_name_that_somebody_types_stays(
    open_page: OpenPage, sqlite_project: LiveProject
):
    sqlite_project.ask(BATCH, "renamed")
    store(sqlite_project, "running", "renamed")
    page = open_page("/batches/")
    row = page.locator('[data-key="renamed"]')
    row.locator("summary").click()
    row.get_by_role("textbox").fill("Night")
    expect(row).to_contain_text("1 running")
    store(sqlite_project, "running", "renamed", first=1)
    expect(row).to_contain_text("2 running")
    row.get_by_role("button", name="Save").click()
    expect(row.get_by_role("link", name="Night")).to_be_visible()


def test_bars_of_a_batch_move_while_its_jobs_advance(open_page: OpenPage, own_project: LiveProject):
    site = own_project.serve("daphne")
    own_project.ask(BATCH, "moves")
    store(own_project, "running", "moves", count=2)
    pages = [open_page(f"{site.url}{path}") for path in ("/batches/", "/")]
    shown = [page.locator('[data-key$="moves"] > .job-percent') for page in pages]
    for percent in shown:
        expect(percent).to_have_text("0%")
    settled(pages[0])
    own_project.ask(ADVANCE, "moves-0", "60")
    for percent in shown:
        expect(percent).to_have_text("30%", timeout=30_000)
    own_project.ask(ADVANCE, "moves-1", "80")
    for percent in shown:
        expect(percent).to_have_text("70%", timeout=30_000)


def test_many_bars_have_no_transition(open_page: OpenPage, sqlite_project: LiveProject):
    store(sqlite_project, "running", "many", count=20)
    page = settled(open_page("/?batch=many"))
    expect(page.locator("#jobs")).not_to_have_attribute("data-many", "")
    store(sqlite_project, "running", "many", first=20)
    expect(page.locator("#jobs")).to_have_attribute("data-many", "")


def test_tabs_groups_and_pages_follow_the_jobs(open_page: OpenPage, sqlite_project: LiveProject):
    store(sqlite_project, "running", "tabs")
    overview, waiting = open_page("/?batch=tabs"), open_page("/?batch=tabs&group=waiting")
    expect(waiting.get_by_text("No job of this batch is waiting.")).to_be_visible()
    store(sqlite_project, "queued", "tabs", first=1, count=26)
    expect(waiting.locator(".job")).to_have_count(25)
    expect(waiting.get_by_role("link", name="Next")).to_be_visible()
    expect(waiting.get_by_text("No job of this batch is waiting.")).to_be_hidden()
    expect(overview.locator('.filters [data-group="waiting"]')).to_have_text("Waiting 26")
    expect(overview.get_by_role("link", name=re.compile("Show all ?: Waiting"))).to_be_visible()
    sqlite_project.ask(END, "tabs-0")
    expect(overview.locator('[data-group="attention"] [data-job="tabs-0"]')).to_be_visible()
    expect(overview.locator('.filters [data-group="running"]')).to_have_text("Running 0")
    expect(overview.get_by_text("No job is running.")).to_be_visible()


def test_nothing_moves_under_the_mouse(open_page: OpenPage, sqlite_project: LiveProject):
    store(sqlite_project, "succeeded", "hover", count=3)
    page = settled(open_page("/?batch=hover"))
    row = page.locator('[data-job="hover-1"]')
    row.hover()
    before = row.bounding_box()
    store(sqlite_project, "failed", "hover", first=3, count=2)
    store(sqlite_project, "running", "hover", first=5)  # the stream tells of it
    new = page.get_by_role("button", name="3 new jobs")
    expect(new).to_be_visible()
    expect(page.locator('.filters [data-group="attention"]')).to_have_text("Attention 2")
    assert row.bounding_box() == before
    new.click()
    expect(page.locator('[data-job="hover-3"]')).to_be_visible()
    expect(new).to_be_hidden()


def test_new_rows_appear_when_the_mouse_leaves_the_list(
    open_page: OpenPage, sqlite_project: LiveProject
):
    store(sqlite_project, "succeeded", "leave", count=3)
    page = settled(open_page("/?batch=leave"))
    page.locator('[data-job="leave-1"]').hover()
    store(sqlite_project, "running", "leave", first=3)
    expect(page.get_by_role("button", name="1 new job")).to_be_visible()
    expect(page.locator('[data-job="leave-3"]')).to_have_count(0)
    page.mouse.move(5, 5)
    expect(page.locator('[data-group="running"] [data-job="leave-3"]')).to_be_visible()


def test_jobs_that_begin_and_end_shift_little(open_page: OpenPage, sqlite_project: LiveProject):
    store(sqlite_project, "succeeded", "shift", count=25)
    page = settled(open_page("/?batch=shift"))
    for number in (25, 26):
        store(sqlite_project, "running", "shift", first=number)
        expect(page.locator(f'[data-job="shift-{number}"]')).to_be_visible()
    for number in (25, 26):
        sqlite_project.ask(END, f"shift-{number}")
        expect(
            page.locator(f'[data-group="attention"] [data-job="shift-{number}"]')
        ).to_be_visible()
    assert page.evaluate(SHIFT) < 0.05


def test_list_says_that_the_user_is_logged_out_and_stops_asking(open_page: OpenPage):
    page = open_page("/", errors=("Failed to load resource", "net::ERR"))
    page.route("**/*", lambda route: route.fulfill(status=401))
    page.evaluate("document.dispatchEvent(new Event('uploaded'))")
    # Not by its text, which the connection has as well if the stream was refused.
    expect(page.locator('[data-notice="logged-out"]')).to_be_visible()
    page.unroute_all()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate("document.dispatchEvent(new Event('uploaded'))")
    page.wait_for_timeout(1_500)
    assert requests == []
