"""Several tabs of one browser share their streams, and each tab is live."""

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


@pytest.fixture
def jobs(sqlite_project: LiveProject) -> Iterator[list[str]]:
    with simulated(sqlite_project) as first, simulated(sqlite_project) as second:
        yield [first, second]


def open_streams(site: LiveServer) -> int:
    found = OPEN_STREAMS.search(httpx.get(f"{site.url}/metrics").text)
    assert found
    return int(found[1])


def open_tabs(
    open_page: OpenPage, site: LiveServer, paths: list[str]
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
        wait_until(page, "live")
    return pages, requests


def wait_until(page: Page, state: str) -> None:
    expect(page.locator(f"[data-connection={state}]")).to_have_count(1, timeout=60_000)


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
