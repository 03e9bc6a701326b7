"""The list of jobs in a real browser, and the layout of all pages."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Request, Route, expect

from tests.support.chromium import PHONE, OpenPage, has_horizontal_scroll
from tests.support.live import LiveProject
from tests.support.simulated import simulated

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

STREAM = "**/api/v1/admin/ingestion/progress"
NETWORK = ("Failed to load resource", "net::ERR")
LONG_NAME = "\u202e" + "an_unbreakable_name_" * 11 + ".pdf"
BATCH_END = """
from ingestion_progress.tracker import fail_job
fail_job("of-the-batch", "No text.")
"""
SEED = """
import sys
from ingestion_progress.models.statuses import JobStatus
from tests.support.page_jobs import job_with
for status in JobStatus:
    job_with(
        status,
        job_id=f"looks-{status}",
        document_name=sys.argv[1],
        error="e" * 300,
        batch="b" * 255,
    )
"""
ROWS = """
from datetime import timedelta
from django.utils import timezone
from ingestion_progress.models.statuses import JobStatus
from tests.support.page_jobs import job_with
end = timezone.now()
times = {"started_at": end - timedelta(seconds=1.45), "finished_at": end, "batch": "rows"}
job_with(JobStatus.SUCCEEDED, job_id="rows-1", **times)
job_with(JobStatus.SUCCEEDED, job_id="rows-2", failed_items=1000, error_count=1000, **times)
job_with(JobStatus.CANCELLED, job_id="rows-3", **times)
job_with(JobStatus.FAILED, job_id="rows-4", error="\u0643\u0633\u0631 " + "y" * 300, **times)
"""
BATCH_JOB = """
from tests.support.page_jobs import job_with
job_with(job_id="of-the-batch", batch="import & more")
"""
LONG_JOB = """
import sys
from tests.support.page_jobs import job_with
job_with(job_id="middle", batch="middle", document_name=sys.argv[1])
"""
WAITING_JOBS = """
from ingestion_progress.models.statuses import JobStatus
from tests.support.page_jobs import job_with
job_with(JobStatus.QUEUED, job_id="chosen-1", batch="chosen", document_name="first.pdf")
job_with(JobStatus.QUEUED, job_id="chosen-2", batch="chosen", document_name="second.pdf")
"""
OVERLAPS = """() => [...document.querySelectorAll(".job")].flatMap((row) => {
  const texts = [...row.querySelectorAll(".job-name,.job-note,.job-status,.job-elapsed,time")];
  const boxes = texts.map((text) => {
    const range = document.createRange();
    range.selectNodeContents(text);
    const [inner, cut] = [range, text].map((each) => each.getBoundingClientRect());
    const [left, right] = [Math.max(inner.left, cut.left), Math.min(inner.right, cut.right)];
    const [above, below] = [cut.top - 3, cut.bottom + 3];
    const [top, bottom] = [Math.max(inner.top, above), Math.min(inner.bottom, below)];
    return [text.className, { left, right, top, bottom }];
  }).filter(([, box]) => box.right > box.left);
  return boxes.flatMap(([one, a], n) => boxes.slice(n + 1).filter(([, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3
  ).map(([two]) => `${row.dataset.job}: ${one} ${two}`));
})"""
FIRST_WORD_IS_SHOWN = """(bdi) => {
  const range = document.createRange();
  range.setStart(bdi.firstChild, 0);
  range.setEnd(bdi.firstChild, 2);
  const [word, box] = [range, bdi].map((each) => each.getBoundingClientRect());
  return word.left >= box.left && word.right <= box.right + 1;
}"""
LONG_BATCH = "/?batch=" + "b" * 255
STATUSES = ("queued", "running", "succeeded", "failed", "lost")
LISTS = ["/", "/?status=lost", LONG_BATCH, "/?batch=none", "/?batch=/"]
PAGES = [*LISTS, "/login/", "/jobs/nobody/", *(f"/jobs/looks-{status}/" for status in STATUSES)]


@pytest.fixture(scope="module", autouse=True)
def jobs(sqlite_project: LiveProject) -> None:
    seeded = sqlite_project.python(SEED, LONG_NAME)
    assert seeded.wait(60) == 0, sqlite_project.log.read_text()[-4000:]


def is_refresh(request: Request) -> bool:
    """Does the script of the page ask for the list again?"""
    return request.headers.get("x-requested-with") == "fetch"


def abort_refresh(route: Route) -> None:
    route.abort() if is_refresh(route.request) else route.continue_()


@pytest.mark.parametrize("has_stream", [True, False], ids=["stream", "polling"])
def test_new_job_appears_advances_and_ends_without_a_reload(
    open_page: OpenPage, sqlite_project: LiveProject, has_stream: bool
):
    page = open_page(errors=() if has_stream else NETWORK)
    polls = []
    page.on("request", lambda request: polls.append(request) if is_refresh(request) else None)
    if not has_stream:
        page.route(STREAM, lambda route: route.abort())
    page.goto("/")
    with simulated(sqlite_project, "--seconds=5") as job_id:
        if not has_stream:
            page.evaluate("document.dispatchEvent(new Event('uploaded'))")  # not in 15 s
        row = page.locator(f'[data-job="{job_id}"]')
        expect(row).to_have_attribute("data-status", "running", timeout=20_000)
        expect(page.locator(f'[data-group="running"] [data-job="{job_id}"]')).to_be_visible()
        expect(row).to_have_attribute("data-status", "succeeded", timeout=20_000)
    expect(page.locator('[data-group="done"] .job').first).to_have_attribute("data-job", job_id)
    expect(row.locator("progress")).to_have_attribute("value", "100")
    expect(row.get_by_role("link")).to_have_attribute("href", f"/jobs/{job_id}/")
    said = "recorded.said.some((text) => text.includes('simulated-report.pdf: Succeeded'))"
    page.wait_for_function(said)
    # At the start, and when the job began and ended.
    assert not has_stream or len(polls) <= 8
    assert page.evaluate("recorded.violations") == []


def test_row_of_a_running_job_is_updated_from_the_stream_without_polling(
    open_page: OpenPage, sqlite_project: LiveProject
):
    with simulated(sqlite_project, "--seconds=30") as job_id:
        page = open_page("/")
        row = page.locator(f'[data-job="{job_id}"]')
        expect(row).to_have_attribute("data-status", "running", timeout=20_000)
        polls = []
        page.on("request", lambda request: polls.append(request) if is_refresh(request) else None)

        def advances_without_poll() -> bool:
            bar, before = row.locator("progress"), len(polls)
            expect(bar).not_to_have_attribute("value", bar.get_attribute("value") or "")
            return len(polls) == before

        # The page polls at its start, however long that takes.
        assert any(all(advances_without_poll() for _ in range(3)) for _ in range(10))


def test_list_of_a_batch_is_updated_by_that_batch_only(
    open_page: OpenPage, sqlite_project: LiveProject
):
    page = open_page("/?batch=import+%26+more")
    expect(page.get_by_text("There is no job of this batch.")).to_be_visible()
    polls = []
    page.on("request", lambda request: polls.append(request) if is_refresh(request) else None)
    page.wait_for_timeout(3_000)  # the polls of the start are done
    polls.clear()
    with simulated(sqlite_project, "--seconds=60") as other:
        expect(open_page("/").locator(f'[data-job="{other}"]')).to_be_visible()
        assert polls == []  # the stream sent nothing
        sqlite_project.ask(BATCH_JOB)
        row = page.locator('[data-job="of-the-batch"]')
        expect(row).to_have_attribute("data-status", "running")
        expect(page.locator(".job")).to_have_count(1)
        expect(page.get_by_text("There is no job of this batch.")).to_be_hidden()
    sqlite_project.ask(BATCH_END)
    expect(page.locator('[data-group="attention"] .job')).to_have_attribute("data-status", "failed")
    row.get_by_role("link").click()
    page.get_by_role("link", name="Batch import & more").click()
    page.get_by_role("link", name="Show jobs of all batches").click()
    expect(page.locator(f'[data-job="{other}"]')).to_be_visible()


def test_progress_of_a_batch_comes_from_its_stream(
    open_page: OpenPage, sqlite_project: LiveProject
):
    batch_job = """
from tests.support.page_jobs import job_with
job_with(job_id="streamed-{number}", batch="streamed")
"""
    sqlite_project.ask(batch_job.format(number=1))
    page = open_page("/?batch=streamed", errors=NETWORK)
    counts = page.locator('[data-field="batch.counts"]')
    expect(counts).to_have_text("1 running")
    page.route("**/api/v1/admin/ingestion/batches/**", lambda route: route.abort())
    sqlite_project.ask(batch_job.format(number=2))
    expect(counts).to_have_text("2 running", timeout=20_000)
    page.unroute_all()


def test_list_shows_that_it_may_be_out_of_date_and_stops_its_clocks(open_page: OpenPage):
    page = open_page(errors=NETWORK)
    page.clock.install()
    page.route(f"{STREAM}?*", lambda route: route.abort())
    page.goto(LONG_BATCH)  # where jobs of other tests do not move it to another page
    elapsed = page.locator('[data-job="looks-running"] [data-field="job.elapsed"]')
    with page.expect_event("requestfinished", is_refresh):
        page.evaluate("document.dispatchEvent(new Event('uploaded'))")
    page.route("**/?batch=*", abort_refresh)
    notice = page.get_by_text("The server does not respond: this list may be out of date.")
    for _ in range(2):
        expect(notice).to_be_hidden()
        with page.expect_event("requestfailed", is_refresh):
            page.clock.fast_forward(10_000)
    expect(notice).to_be_in_viewport()
    stopped_at = elapsed.text_content()
    page.clock.fast_forward(5_000)
    expect(elapsed).to_have_text(stopped_at or "")
    page.unroute_all()
    page.clock.fast_forward(30_000)
    expect(notice).to_be_hidden()


def test_list_says_when_its_stream_is_away_and_tries_now_on_request(open_page: OpenPage):
    page = open_page(errors=NETWORK)
    page.route(STREAM, lambda route: route.fulfill(status=503))
    page.goto("/")
    connection = page.locator("#list-head [data-field]")
    expect(connection).to_have_text(re.compile(r"^Connection lost\. As of .*\. Trying again in "))
    page.unroute_all()
    page.get_by_role("button", name="Try now").click()
    expect(connection).to_have_text("Live")
    expect(page.get_by_role("button", name="Try now")).to_be_hidden()


@pytest.mark.parametrize("path", PAGES)
def test_phone_needs_no_horizontal_scroll(open_page: OpenPage, path: str):
    page = open_page(path, viewport=PHONE, errors=NETWORK)
    assert not has_horizontal_scroll(page)


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("path", [*PAGES, "/batches/", "/jobs/looks-failed/", "/search/?q=a"])
def test_text_of_twice_the_size_needs_no_horizontal_scroll(
    open_page: OpenPage, path: str, width: int
):
    page = open_page(path, viewport={"width": width, "height": 900}, errors=NETWORK)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert not has_horizontal_scroll(page)


@pytest.mark.parametrize("path", ["/", LONG_BATCH, "/jobs/looks-running/"])
def test_touch_targets_are_large_enough(open_page: OpenPage, path: str):
    page = open_page(path, viewport=PHONE)
    sizes = page.locator("main :is(.button, .filters a, .back, .job):visible").evaluate_all(
        "nodes => nodes.map(node => node.getBoundingClientRect().height)"
    )
    assert sizes
    assert min(sizes) >= 44


def test_dark_mode_is_dark_and_light_mode_light(open_page: OpenPage):
    backgrounds = [
        open_page("/jobs/looks-running/", color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
        for scheme in ("light", "dark")
    ]
    assert min(backgrounds[0]) > 200
    assert max(backgrounds[1]) < 60


def test_error_of_a_row_can_be_selected_and_has_two_lines_on_a_phone(open_page: OpenPage):
    page = open_page("/?status=failed", viewport=PHONE)
    note = page.locator("[data-job=looks-failed] .job-note bdi")
    lines = page.locator("[data-job=looks-failed] .job-note").evaluate(
        "(note) => note.clientHeight / parseFloat(getComputedStyle(note).lineHeight)"
    )
    assert round(lines) == 2
    note.dblclick(position={"x": 30, "y": 8})
    assert page.evaluate("getSelection().toString()").startswith("e")
    expect(page).to_have_url(re.compile("status=failed"))


def test_rows_of_ended_jobs_show_their_duration_and_no_empty_line_on_a_phone(
    open_page: OpenPage, sqlite_project: LiveProject
):
    sqlite_project.ask(ROWS + "\nprint('null')")
    page = open_page("/?batch=rows", viewport={"width": 320, "height": 700})
    for number in (1, 2, 3, 4):
        took = page.locator(f"[data-job=rows-{number}] .job-elapsed")
        expect(took).to_have_text("1.4\xa0s")
        expect(took).to_be_visible()
    # No text of a row lies on another.
    assert page.evaluate(OVERLAPS) == []
    assert not has_horizontal_scroll(page)
    page.set_viewport_size({"width": 1280, "height": 900})
    note = page.locator("[data-job=rows-4] .job-note bdi")
    # Its end is cut, which is at its left.
    assert note.evaluate("bdi => getComputedStyle(bdi).direction") == "rtl"
    assert note.evaluate(FIRST_WORD_IS_SHOWN)


def test_reduced_motion_stops_every_animation(open_page: OpenPage):
    page = open_page("/jobs/looks-running/", reduced_motion="reduce")
    page.locator(".stage progress").first.evaluate("bar => bar.removeAttribute('value')")
    assert page.evaluate("document.getAnimations().length") == 0


def test_first_tab_stop_is_a_visible_skip_link(open_page: OpenPage):
    page = open_page("/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    assert skip.evaluate("link => getComputedStyle(link).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Upload documents")).to_be_focused()


def test_long_name_is_cut_in_the_middle(open_page: OpenPage, sqlite_project: LiveProject):
    name = "Annual_Report_" + "of_the_department_" * 10 + "part-3.pdf"
    sqlite_project.ask(LONG_JOB, name)
    page = open_page("/?batch=middle", viewport={"width": 320, "height": 740})
    link = page.get_by_role("link", name=name, exact=True)
    expect(link).to_have_attribute("title", name)
    row = page.locator('[data-job="middle"]').bounding_box()
    end = link.locator(".name-end").bounding_box()
    assert end["x"] + end["width"] <= row["x"] + row["width"]
    assert link.evaluate("link => link.scrollWidth <= link.clientWidth")  # nothing is cut off
    assert link.locator(".name-end").text_content() == name[-12:]
    expect(page.get_by_role("progressbar", name=f"Progress of {name}")).to_have_count(1)


def test_selected_jobs_are_cancelled_without_javascript(
    open_page: OpenPage, sqlite_project: LiveProject
):
    sqlite_project.ask(WAITING_JOBS)
    page = open_page("/?batch=chosen", java_script_enabled=False)
    page.get_by_label("Select first.pdf").check()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_text("Cancellation requested: 1 job.")).to_be_visible()
    expect(page.locator('[data-job="chosen-1"]')).to_have_attribute("data-status", "cancelled")
    expect(page.locator('[data-job="chosen-2"]')).to_have_attribute("data-status", "queued")
