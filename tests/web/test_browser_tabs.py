"""Several tabs of one browser share their streams, and leave connections for other requests."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, Request, expect

from tests.support.chromium import RECORDER, OpenPage
from tests.support.live import LiveProject, LiveServer
from tests.support.servers import free_port
from tests.support.simulated import simulated

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

OPEN_STREAMS = re.compile(r"^ingestion_progress_streams_open (\d+)", re.MULTILINE)
STATES = "recorded.events.filter(([type]) => type === 'connectionchange').map(([, state]) => state)"
HIDE = """Object.defineProperty(document, 'hidden', {value: true});
document.dispatchEvent(new Event('visibilitychange'))"""
# While it waits for its next try, whose timer is removed.
STUCK = """() => {
  if (!document.querySelector("[data-offer=retry]:not([hidden])")) return false;
  for (let timer = setTimeout(() => {}); timer > 0; timer--) clearTimeout(timer);
  return true;
}"""
BATCHES = """
import sys
from ingestion_progress.models import Batch
Batch.objects.bulk_create([Batch(id=batch) for batch in sys.argv[1:]])
print("null")
"""
JOBS_OF_BATCHES = """
import sys
from ingestion_progress.tracker import queue_job
for batch in sys.argv[1:]:
    queue_job("report.pdf", job_id=f"{batch}-job", batch=batch)
print("null")
"""


@pytest.fixture
def jobs(sqlite_project: LiveProject) -> Iterator[list[str]]:
    with simulated(sqlite_project) as first, simulated(sqlite_project) as second:
        yield [first, second]


def open_streams(site: LiveServer) -> int:
    found = OPEN_STREAMS.search(httpx.get(f"{site.url}/metrics").text)
    assert found
    return int(found[1])


def open_tabs(
    open_page: OpenPage, site: LiveServer, paths: list[str], *, states: tuple[str, ...] = ("live",)
) -> tuple[list[Page], list[Request]]:
    """Live pages of one browser context, and the streams that they request."""
    first = open_page(errors=("Failed to load resource",), base_url=site.url)
    requests: list[Request] = []
    first.context.on(
        "request",
        lambda request: request.resource_type == "eventsource" and requests.append(request),
    )
    pages = [first, *(first.context.new_page() for _ in paths[1:])]
    for page, path in zip(pages, paths, strict=True):
        if page is not first:
            page.add_init_script(RECORDER)
        page.set_default_timeout(30_000)
        page.goto(path)
        wait_until(page, *states)
    return pages, requests


def wait_until(page: Page, *states: str) -> None:
    selector = ", ".join(f"[data-connection={state}]" for state in states)
    expect(page.locator(selector)).to_have_count(1, timeout=60_000)


def connection_of(page: Page) -> str:
    return page.evaluate("document.querySelector('[data-connection]').dataset.connection")


def wait_for_progress(pages: list[Page]) -> None:
    """Until each page, of a job, has received another state of its job."""
    for page in pages:
        page.evaluate("recorded.percents.length = 0")
    deadline = time.monotonic() + 60
    while not all(page.evaluate("recorded.percents.length") for page in pages):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_eight_tabs_share_two_streams(
    open_page: OpenPage, jobs: list[str], sqlite_project: LiveProject
):
    site = sqlite_project.serve("uvicorn", port=free_port())
    first, second = [f"/jobs/{job}/" for job in jobs]
    pages, requests = open_tabs(
        open_page, site, [first, "/", first, second, first, "/", second, first]
    )
    lists = [page for page in pages if page.url == f"{site.url}/"]
    tabs = [page for page in pages if page not in lists]
    wait_for_progress(tabs)
    assert open_streams(site) == 2
    assert requests[-1].url.endswith("/progress?jobs=" + "%2C".join(sorted(jobs)))
    shown = [page.evaluate("document.querySelector('pipeline-progress').state") for page in tabs]
    assert [state["job_id"] for state in shown] == [page.url.split("/")[-2] for page in tabs]

    # The tab that has the stream is closed: the others go on, and need not even say so.
    leader = requests[-1].frame.page
    leader.close()
    tabs.remove(leader)
    wait_for_progress(tabs)
    assert requests[-1].frame.page in tabs
    assert all(page.evaluate(STATES) == ["connecting", "live"] for page in tabs)

    # A restart of the server: all say so, and all are live again.
    site.process.terminate()
    for page in [*tabs, *lists]:
        wait_until(page, "reconnecting")
    assert site.process.wait(30) is not None
    again = sqlite_project.serve("uvicorn", port=int(site.url.rpartition(":")[2]))
    for page in [*tabs, *lists]:
        wait_until(page, "live")
    wait_for_progress(tabs)
    assert open_streams(again) == 2


def test_lists_with_different_filters_leave_connections_for_requests(
    open_page: OpenPage, jobs: list[str], sqlite_project: LiveProject
):
    """Eight tabs with a filter each and eight with a job; HTTP/1.1 has six connections."""
    site = sqlite_project.serve("uvicorn")
    batches = [f"batch-{number}" for number in range(8)]
    sqlite_project.ask(BATCHES, *batches)
    lists = [f"/?batch={batch}" for batch in batches]
    paths = [path for each in lists for path in (each, f"/jobs/{jobs[0]}/")]
    pages, _ = open_tabs(open_page, site, paths, states=("live", "polling"))
    list_pages, job_pages = pages[::2], pages[1::2]

    assert [connection_of(page) for page in job_pages] == ["live"] * 8
    states = [connection_of(page) for page in list_pages]
    assert sorted(states) == ["live"] * 2 + ["polling"] * 6
    assert open_streams(site) == 3
    wait_for_progress(job_pages)
    for page in pages:
        page.evaluate("fetch('/metrics', {signal: AbortSignal.timeout(30000)})")

    # Each list shows what happens in its batch, with a stream or without.
    sqlite_project.ask(JOBS_OF_BATCHES, *batches)
    for page, batch in zip(list_pages, batches, strict=True):
        expect(page.locator(f"[data-job={batch}-job]")).to_have_count(1, timeout=60_000)

    # A tab with a stream is closed: another list has one at its next try.
    list_pages.pop(states.index("live")).close()
    deadline = time.monotonic() + 60
    while [connection_of(page) for page in list_pages].count("live") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert open_streams(site) == 3


def test_one_stream_more_than_the_server_allows(
    open_page: OpenPage, jobs: list[str], sqlite_project: LiveProject
):
    site = sqlite_project.serve("uvicorn", MAX_STREAMS_PER_ADDRESS="1")
    paths = [f"/jobs/{jobs[0]}/", "/", f"/jobs/{jobs[1]}/"]
    pages, _ = open_tabs(open_page, site, paths, states=("live", "polling"))
    assert [connection_of(page) for page in pages] == ["live", "polling", "live"]
    wait_for_progress([pages[0], pages[2]])


@pytest.mark.parametrize("status", [403, 404, 503])
def test_tab_opens_its_own_stream_while_the_joint_one_is_refused(
    open_page: OpenPage, jobs: list[str], sqlite_project: LiveProject, status: int
):
    site = sqlite_project.serve("uvicorn")
    first, second = [f"/jobs/{job}/" for job in jobs]
    pages, requests = open_tabs(open_page, site, [first])
    context = pages[0].context
    context.route("**/progress?jobs=*", lambda route: route.fulfill(status=status))
    page = context.new_page()
    page.add_init_script(RECORDER)
    page.goto(second)
    pages.append(page)
    deadline = time.monotonic() + 60
    while not all(job in "".join(each.url for each in requests[-2:]) for job in jobs) or any(
        "jobs=" in each.url for each in requests[-2:]
    ):
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)
    for each in pages:
        wait_until(each, "live")
    wait_for_progress(pages)
    assert open_streams(site) == 2


def test_another_tab_takes_the_stream_of_one_that_hangs(
    open_page: OpenPage, jobs: list[str], sqlite_project: LiveProject
):
    """A frozen tab is like it: it keeps its lock, and its scripts do not run."""
    site = sqlite_project.serve("uvicorn", KEEPALIVE_SECONDS="1")
    paths = [f"/jobs/{job}/" for job in (*jobs, jobs[0])]
    pages, requests = open_tabs(open_page, site, paths)
    leader, *others = pages
    assert requests[-1].frame.page == leader
    control = leader.context.new_cdp_session(leader)
    control.send("Debugger.enable")
    control.send("Debugger.pause")
    wait_for_other_leader(others, requests)
    for page in others:
        wait_until(page, "live")
    wait_for_progress(others)

    # It follows the new leader when it runs again.
    control.send("Debugger.disable")
    wait_until(leader, "live")
    wait_for_progress(pages)
    deadline = time.monotonic() + 60
    while open_streams(site) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_another_tab_takes_the_stream_of_a_hidden_one(
    open_page: OpenPage, jobs: list[str], sqlite_project: LiveProject
):
    site = sqlite_project.serve("uvicorn")
    pages, requests = open_tabs(open_page, site, [f"/jobs/{job}/" for job in jobs])
    leader, other = pages
    leader.evaluate(HIDE)
    wait_for_other_leader([other], requests)
    wait_until(leader, "paused")
    wait_for_progress([other])
    assert other.evaluate(STATES) == ["connecting", "live"]
    assert open_streams(site) == 1


def wait_for_other_leader(tabs: list[Page], requests: list[Request]) -> None:
    """Until one of these tabs has requested the stream."""
    deadline = time.monotonic() + 60
    while requests[-1].frame.page not in tabs:
        assert time.monotonic() < deadline
        tabs[0].wait_for_timeout(50)


def test_no_tab_waits_for_its_own_try_when_another_is_connected_again(
    open_page: OpenPage, jobs: list[str], sqlite_project: LiveProject
):
    """Whether they share a stream, as the pages of jobs, or have another, as the list."""
    site = sqlite_project.serve("uvicorn", port=free_port(), KEEPALIVE_SECONDS="1")
    paths = [f"/jobs/{jobs[0]}/", f"/jobs/{jobs[1]}/", "/"]
    pages, _ = open_tabs(open_page, site, paths)
    site.process.terminate()
    assert site.process.wait(30) is not None
    for page in pages[1:]:
        page.wait_for_function(STUCK, timeout=60_000, polling=100)
    again = sqlite_project.serve("uvicorn", port=int(site.url.rpartition(":")[2]))
    for page in pages:
        wait_until(page, "live")
    wait_for_progress(pages[:2])
    assert open_streams(again) == 2
