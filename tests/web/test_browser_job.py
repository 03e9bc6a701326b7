"""The page of one job in a real browser, with real jobs."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import RECORDER, OpenPage
from tests.support.event_streams import events, open_stream, progress_url
from tests.support.live import LiveProject, LiveServer, server_command
from tests.support.relays import relay_to
from tests.support.simulated import simulated

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

NETWORK = ("Failed to load resource", "net::ERR")

FAILING = """
import sys, time
from ingestion_progress import track
with track("bad.pdf", job_id=sys.argv[1], stages=["parsing", "chunking"]) as job:
    with job.stage("parsing", total=4, unit="pages") as stage:
        for page in stage.iterate(range(4)):
            time.sleep(0.4)
            if page == 2:
                stage.record_error("Page 3 has no text layer", item="page 3")
    time.sleep(1)
    raise ValueError("The second half of the file is missing")
"""
PARTIAL = """
import sys, time
from ingestion_progress import track
with track("part.pdf", job_id=sys.argv[1], stages=["parsing"]) as job:
    for page in job.stage("parsing").iterate(range(4)):
        time.sleep(1)
        if page % 2:
            job.stage("parsing").record_error(f"Page {page} has no text layer")
"""
TONE = "(element) => getComputedStyle(element).getPropertyValue('--tone').trim()"
WARNING = "(element) => getComputedStyle(element).getPropertyValue('--warn').trim()"
QUEUED = """
import sys, datetime
from django.utils import timezone
from ingestion_progress.models import Job
from ingestion_progress.tracker import queue_job
for job_id in sys.argv[1:]:
    queue_job("minutes.docx", job_id=job_id)
ago = timezone.now() - datetime.timedelta(minutes=10)
Job.objects.filter(pk="starved").update(created_at=ago)
"""
SUCCEEDING = """
import sys
from ingestion_progress import track
with track("report.pdf", job_id=sys.argv[1], stages=["parsing"]) as job:
    with job.stage("parsing", total=1) as stage:
        stage.advance()
print("null")
"""
LOGGING = """
import sys, time, logging
from ingestion_progress import track
with track("log.txt", job_id=sys.argv[1], stages=["parsing"]) as job:
    with job.stage("parsing"):
        job.log("The index was rebuilt.")
        time.sleep(3)
        for number in range(120):
            job.log(f"line {number}", level="error" if number % 10 == 0 else "info")
        time.sleep(120)
"""
NOTIFICATIONS = """
window.shown = [];
window.Notification = class {
  static permission = "default";
  static async requestPermission() { return "granted"; }
  constructor(title, { body }) { shown.push([title, body]); }
  addEventListener() {}
};"""
# A plain EventSource beside the element's; its state is in `data-plain`.
PLAIN = """(url) => {
  const source = new EventSource(url);
  const states = ["connecting", "open", "closed"];
  const note = () => { document.body.dataset.plain = states[source.readyState]; };
  for (const type of ["open", "error"]) source.addEventListener(type, note);
  source.addEventListener("complete", () => { document.body.dataset.plain = "complete"; });
}"""


@pytest.fixture(scope="module", autouse=True)
def queued(sqlite_project: LiveProject) -> None:
    """Queued jobs; `starved` has waited for ten minutes."""
    jobs = ("starved", "to-delete", "to-cancel")
    sqlite_project.ask(QUEUED, *jobs)


@pytest.fixture(scope="module")
def running(sqlite_project: LiveProject) -> Iterator[str]:
    """A job that runs longer than the tests."""
    with simulated(sqlite_project, "--seconds=600") as job_id:
        yield job_id


@dataclass(frozen=True)
class Watched:
    """A page that was open from the start of a job to its end."""

    page: Page
    recorded: dict[str, Any]
    headers: dict[str, str]
    """The response headers of its stream."""


@pytest.fixture(scope="module")
def watched(browser: Browser, site: LiveServer, sqlite_project: LiveProject) -> Iterator[Watched]:
    with simulated(sqlite_project, "--seconds=5") as job_id, browser.new_page() as page:
        page.add_init_script(RECORDER)
        with page.expect_response("**/progress") as stream:
            page.goto(f"{site.url}/jobs/{job_id}/")
        wait_until(page, "succeeded")
        page.wait_for_function("recorded.said.includes('Succeeded')")
        expect(page.get_by_role("button", name="Cancel job…")).to_have_count(0)
        yield Watched(page=page, recorded=page.evaluate("recorded"), headers=stream.value.headers)


def wait_for_job(site: LiveServer, job_id: str) -> None:
    address = f"{site.url}/api/v1/admin/ingestion/jobs/{job_id}"
    for _ in range(300):
        if httpx.get(address, timeout=60).status_code == 200:
            return
    raise AssertionError(f"job {job_id} does not appear")


def wait_until(page: Page, status: str) -> None:
    expect(page.locator("pipeline-progress")).to_have_attribute(
        "data-status", status, timeout=30_000
    )


def wait_until_connected(page: Page, state: str, timeout: float = 15_000) -> None:
    element = page.locator("pipeline-progress")
    expect(element).to_have_attribute("data-connection", state, timeout=timeout)


def test_percentage_rises_from_0_to_100_and_never_falls(watched: Watched):
    percents = watched.recorded["percents"]
    assert len(percents) > 5
    assert percents[0] < 50
    assert percents[-1] == 100
    assert percents == sorted(percents)
    assert watched.recorded["events"][-2:] == [["complete", None], ["connectionchange", "ended"]]


def test_page_reads_a_compressed_stream(watched: Watched):
    assert watched.headers["content-encoding"] == "gzip"


def test_page_of_a_succeeded_job_is_complete(watched: Watched):
    page = watched.page
    expect(page.locator(".overall-percent")).to_have_text("100%")
    bar = page.get_by_role("progressbar", name="Overall progress")
    expect(bar).to_have_attribute("value", "100")
    expect(page.locator(".stage[data-status=completed]")).to_have_count(5)
    expect(page.get_by_text("The document is ingested.")).to_be_visible()
    expect(page).to_have_title("✓ Succeeded · \u2068simulated-report.pdf\u2069 · Ingestion")


def test_unit_of_a_stage_appears_on_a_page_that_was_opened_before_it_was_known(watched: Watched):
    detail = watched.page.locator("[data-stage=parsing] .stage-detail")
    expect(detail).to_have_text(re.compile(r"^\d+ pages$"))


def test_page_has_no_layout_shift_and_no_policy_violation(watched: Watched):
    assert watched.recorded["shifts"] < 0.02
    assert watched.recorded["violations"] == []


def test_only_status_and_quarters_are_announced(watched: Watched):
    said = watched.recorded["said"]
    assert set(said) <= {"Running", "25%", "50%", "75%", "Succeeded"}
    assert len(said) == len(set(said))


def test_failed_job_shows_its_reason_and_its_log(
    open_page: OpenPage, site: LiveServer, sqlite_project: LiveProject
):
    sqlite_project.python(FAILING, "failing")
    wait_for_job(site, "failing")
    page = open_page("/jobs/failing/")
    wait_until(page, "failed")
    reason = page.get_by_text("The second half of the file is missing").locator("visible=true")
    expect(reason.first).to_be_visible()
    expect(page.locator(".log-entry[data-level=error]").first).to_be_visible()
    expect(page.locator(".log")).to_contain_text("Page 3 has no text layer")
    title = "✗ Failed · \u2068bad.pdf\u2069 · Ingestion"
    expect(page).to_have_title(title)
    page.reload()
    expect(page).to_have_title(title)


def test_success_with_errors_has_an_amber_badge_on_page_and_list(
    open_page: OpenPage, site: LiveServer, sqlite_project: LiveProject
):
    sqlite_project.python(PARTIAL, "partial")
    wait_for_job(site, "partial")
    page, jobs = open_page("/jobs/partial/"), open_page("/")
    wait_until(page, "succeeded")
    row = jobs.locator('[data-job="partial"]')
    expect(row).to_have_attribute("data-status", "succeeded", timeout=15_000)
    badges = [page.locator("pipeline-progress .badge"), row.locator(".job-status")]
    for badge in badges:
        expect(badge).to_contain_text("Succeeded with 2 errors")
    colours = [badge.evaluate(TONE) for badge in badges]
    assert colours == [page.locator("body").evaluate(WARNING)] * 2
    expect(page).to_have_title("! Succeeded with 2 errors · \u2068part.pdf\u2069 · Ingestion")
    page.reload()
    expect(page.locator(".badge")).to_contain_text("Succeeded with 2 errors")
    assert page.locator("pipeline-progress .badge").evaluate(TONE) == colours[0]


def test_lost_connection_is_shown_and_restored(
    open_page: OpenPage, sqlite_project: LiveProject, running: str
):
    server = sqlite_project.serve("daphne")
    page = open_page(f"{server.url}/jobs/{running}/", errors=NETWORK)
    wait_until_connected(page, "live")
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    wait_until_connected(page, "reconnecting")
    expect(
        page.get_by_text(re.compile(r"Connection lost\. As of \d\d:.* Trying again"))
    ).to_be_visible()
    expect(page).to_have_title("\u2068simulated-report.pdf\u2069 · Ingestion")
    port = urlsplit(server.url).port
    assert port
    sqlite_project.spawn(sys.executable, "-m", *server_command("daphne", port))
    wait_until_connected(page, "live", timeout=40_000)
    assert {"Connection lost", "Connected again"} <= set(page.evaluate("recorded.said"))


def test_503_ends_a_plain_event_source_but_not_the_elements_connection(
    open_page: OpenPage, site: LiveServer, sqlite_project: LiveProject
):
    job_id = sqlite_project.queue_job()
    with relay_to(site.url) as relay:
        page = open_page(f"{relay.url}/jobs/{job_id}/", errors=NETWORK)
        wait_until_connected(page, "live")
        page.evaluate(PLAIN, f"/api/v1/admin/ingestion/jobs/{job_id}/progress")
        plain = page.locator("body")
        expect(plain).to_have_attribute("data-plain", "open")
        relay.take_away()
        sqlite_project.ask(SUCCEEDING, job_id)
        expect(plain).to_have_attribute("data-plain", "closed", timeout=15_000)
        wait_until_connected(page, "reconnecting")
        assert relay.refused_count
        relay.bring_back()
        wait_until(page, "succeeded")
        wait_until_connected(page, "ended")
    events = page.evaluate("recorded.events")
    states = [state for type_, state in events if type_ == "connectionchange"]
    assert states[-3:] == ["reconnecting", "live", "ended"]
    assert ["complete", None] in events
    expect(plain).to_have_attribute("data-plain", "closed")


@pytest.mark.parametrize(
    "refusal",
    [
        (401, "logged_out", "You are logged out"),
        (403, "refused", "You may no longer see this"),
    ],
)
def test_lost_access_is_shown_and_ends_the_tries(
    open_page: OpenPage, sqlite_project: LiveProject, running: str, refusal
):
    status, state, text = refusal
    server = sqlite_project.serve("daphne")
    page = open_page(f"{server.url}/jobs/{running}/", errors=NETWORK)
    wait_until_connected(page, "live")
    page.route("**/progress", lambda route: route.fulfill(status=status))
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    wait_until_connected(page, state)
    expect(page.locator(".connection")).to_contain_text(re.compile(rf"{text}\. As of \d\d:"))
    expect(page.locator(".badge")).to_have_css("filter", "grayscale(1)")
    login = page.locator(".connection").get_by_role("link", name="Log in")
    expect(login).to_be_visible(visible=status == 401)
    if status == 401:
        assert f"next=/jobs/{running}/" in str(login.get_attribute("href"))
    page.unroute("**/progress")
    page.wait_for_timeout(2_500)
    wait_until_connected(page, state)  # no further try


def test_page_without_locks_has_its_own_stream(open_page: OpenPage, running: str):
    page = open_page()
    # As on plain http, where browsers have none.
    page.add_init_script("Object.defineProperty(navigator, 'locks', {value: undefined})")
    with page.expect_request("**/progress") as request:
        page.goto(f"/jobs/{running}/")
    wait_until_connected(page, "live")
    assert request.value.resource_type == "eventsource"


def test_log_in_page_is_not_taken_for_the_page_of_the_job(
    open_page: OpenPage, sqlite_project: LiveProject
):
    with simulated(sqlite_project) as job_id:
        page = open_page(f"/jobs/{job_id}/", errors=NETWORK)
        wait_until_connected(page, "live")
        page.route("**/progress", lambda route: route.fulfill(status=401))
        page.route(
            f"**/jobs/{job_id}/",
            lambda route: route.fulfill(content_type="text/html", body="<h1>Log in</h1>"),
        )
        wait_until_connected(page, "logged_out")
        expect(page.get_by_role("button", name="Cancel job…")).to_be_visible()
        expect(page.get_by_text("You are logged out.")).to_be_visible()


def test_silent_network_is_noticed_and_the_button_tries_at_once(
    open_page: OpenPage, sqlite_project: LiveProject, running: str
):
    server = sqlite_project.serve("uvicorn", KEEPALIVE_SECONDS="1")
    with relay_to(server.url) as relay:
        page = open_page(f"{relay.url}/jobs/{running}/", errors=NETWORK)
        wait_until_connected(page, "live")
        relay.is_frozen = True
        wait_until_connected(page, "reconnecting")
        expect(page.get_by_text(re.compile(r"No news for \d+\ss\. As of \d\d:"))).to_be_visible()
        elapsed = page.locator("[data-field='job.elapsed']").text_content()
        page.wait_for_timeout(1_500)
        assert page.locator("[data-field='job.elapsed']").text_content() == elapsed
        expect(page).to_have_title("\u2068simulated-report.pdf\u2069 · Ingestion")
        # The first try ends without an answer, and then there is a pause of a second: too short
        # for a click that waits until the button is still.
        expect(page.get_by_text(re.compile("Trying again in"))).to_be_visible(timeout=30_000)
        relay.is_frozen = False
        page.get_by_role("button", name="Try now").dispatch_event("click")
        wait_until_connected(page, "live", timeout=5_000)
        expect(page.get_by_role("button", name="Try now")).to_be_hidden()


SHOW = """Object.defineProperty(document, 'hidden', {value: %s, configurable: true});
document.dispatchEvent(new Event('visibilitychange'))"""


def test_hidden_page_learns_of_the_end(
    open_page: OpenPage, site: LiveServer, sqlite_project: LiveProject
):
    job_id = sqlite_project.queue_job()
    page = open_page()
    page.clock.install()
    page.add_init_script(NOTIFICATIONS)
    page.goto(f"/jobs/{job_id}/")
    wait_until_connected(page, "live")
    plain_icon = page.locator("link[rel=icon]").get_attribute("href")
    page.get_by_role("button", name="Notify me").click()
    expect(page.get_by_role("button", name="Notify me")).to_have_attribute("aria-pressed", "true")
    page.evaluate(SHOW % "true")
    page.clock.fast_forward(11_000)
    wait_until_connected(page, "paused")
    sqlite_project.ask(SUCCEEDING, job_id)
    wait_for_job(site, job_id)
    page.clock.fast_forward(16_000)
    wait_until_connected(page, "ended")
    expect(page).to_have_title("✓ Succeeded · \u2068report.pdf\u2069 · Ingestion")
    assert page.locator("link[rel=icon]").get_attribute("href") != plain_icon
    assert page.evaluate("shown") == [["Succeeded", "report.pdf"]]
    assert page.evaluate("recorded.violations") == []


def wait_for_states(page: Page, count: int) -> None:
    deadline = time.monotonic() + 15
    while page.evaluate("recorded.percents.length") < count:
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def test_one_viewer_too_many_sees_the_state_by_polling(
    open_page: OpenPage, sqlite_project: LiveProject, running: str
):
    server = sqlite_project.serve("uvicorn", MAX_STREAMS_PER_ADDRESS="1")
    with open_stream(progress_url(server.url, running)) as stream:
        next(events(stream))
        page = open_page()
        page.clock.install()
        page.goto(f"{server.url}/jobs/{running}/")
        wait_until_connected(page, "polling")
        expect(page.get_by_text("Too many open streams: updated every 15 s")).to_be_visible()
        wait_for_states(page, 1)
        before = page.evaluate("recorded.percents.length")
        page.clock.fast_forward(16_000)
        wait_for_states(page, before + 1)
    for _ in range(4):  # each runs a timer once
        page.clock.fast_forward(16_000)
        page.wait_for_timeout(500)
    wait_until_connected(page, "live")


def test_line_of_the_log_appears_while_its_stage_runs(
    open_page: OpenPage, sqlite_project: LiveProject
):
    sqlite_project.queue_job("logging")
    page = open_page("/jobs/logging/")
    wait_until_connected(page, "live")
    writer = sqlite_project.python(LOGGING, "logging")
    log = page.locator("#log")
    expect(log).to_contain_text("The index was rebuilt.", timeout=60_000)
    wait_until(page, "running")
    expect(page.locator(".stage[data-status=in_progress]")).to_have_count(1)
    expect(log.locator(".log-entry").last).to_contain_text("line 119", timeout=20_000)
    scroll = page.get_by_role("region", name="Lines of the log")
    assert scroll.evaluate("(element) => Math.abs(element.scrollTop) < 2")  # at its end

    log.get_by_label("Level").select_option("error")
    expect(log.locator(".log-entry")).to_have_count(12)
    log.get_by_label("Level").select_option("")
    log.get_by_label("Search the log").fill("line 11")
    expect(log.locator(".log-entry")).to_have_count(11)
    with page.expect_download() as download:
        log.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "log.txt.log"
    lines = download.value.path().read_text().splitlines()
    assert lines[-1].endswith(" INFO line 119")
    pattern = r"20[-\d]+ [\d:.]+\+00:00 INFO The index was rebuilt\."
    assert [line for line in lines if re.fullmatch(pattern, line)]
    writer.kill()

    page.goto("/jobs/logging/")
    expect(page.locator(".log-entry")).to_have_count(50)
    page.get_by_role("button", name="Earlier lines").click()
    expect(page.locator(".log")).to_contain_text("The index was rebuilt.")
    expect(page.get_by_role("button", name="Earlier lines")).to_be_hidden()
    address = page.locator(".log-entry", has_text="rebuilt").locator("a").get_attribute("href")
    page.goto("about:blank")
    page.goto(f"/jobs/logging/{address}")
    expect(page.locator(".log-entry[aria-current]")).to_contain_text("The index was rebuilt.")


def test_hidden_page_closes_its_connection(open_page: OpenPage, running: str):
    page = open_page()
    page.clock.install()
    page.goto(f"/jobs/{running}/")
    wait_until_connected(page, "live")
    page.evaluate(SHOW % "true")
    page.clock.fast_forward(5_000)
    wait_until_connected(page, "live")
    page.clock.fast_forward(6_000)
    wait_until_connected(page, "paused")
    page.evaluate(SHOW % "false")
    wait_until_connected(page, "live")


def test_starved_job_shows_the_worker_command(open_page: OpenPage):
    page = open_page("/jobs/starved/")
    wait_until_connected(page, "live")
    expect(page.get_by_text("manage.py ingestion_worker")).to_be_visible()


def test_running_job_shows_no_worker_command(open_page: OpenPage, running: str):
    page = open_page(f"/jobs/{running}/")
    wait_until_connected(page, "live")
    expect(page.get_by_text("manage.py ingestion_worker")).to_be_hidden()


def test_deletion_of_the_job_is_shown(open_page: OpenPage, site: LiveServer):
    page = open_page("/jobs/to-delete/", errors=NETWORK)
    wait_until_connected(page, "live")
    deleted = httpx.delete(f"{site.url}/api/v1/admin/ingestion/jobs/to-delete")
    assert deleted.status_code == 204
    expect(page.get_by_text("This job does not exist.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel job…")).to_have_count(0)
    wait_until_connected(page, "ended")


def test_job_can_be_cancelled_with_the_keyboard(open_page: OpenPage, sqlite_project: LiveProject):
    with simulated(sqlite_project) as job_id:
        page = open_page(f"/jobs/{job_id}/")
        wait_until_connected(page, "live")
        page.get_by_role("button", name="Cancel job…").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Cancel this job?")
        expect(dialog).to_be_visible()
        expect(dialog.get_by_role("button", name="Keep it running")).to_be_focused()
        for _ in range(4):  # past the last button, and never to what is behind
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.matches('dialog *, body')")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("button", name="Cancel job…")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        wait_until(page, "cancelled")
        expect(page.get_by_text("The job was cancelled.")).to_be_visible()


def test_job_can_be_viewed_and_cancelled_without_javascript(open_page: OpenPage):
    page = open_page("/jobs/to-cancel/", java_script_enabled=False)
    expect(page.get_by_role("heading", name="minutes.docx")).to_be_visible()
    expect(page.locator(".stage")).to_have_count(5)
    as_of = page.locator("[data-field='job.connection']")
    expect(as_of).to_have_text(re.compile(r"^As of \d\d:\d\d:\d\d$"))
    page.get_by_role("button", name="Cancel job…").click()
    expect(page.get_by_role("heading", name="Cancel this job?")).to_be_visible()
    assert page.locator("meta[http-equiv]").count() == 0  # a reload would take the question away
    page.get_by_role("link", name="Keep it running").click()
    page.get_by_role("button", name="Cancel job…").click()
    page.get_by_role("button", name="Cancel job", exact=True).click()
    expect(page.locator(".notice:visible")).to_contain_text("was cancelled")
