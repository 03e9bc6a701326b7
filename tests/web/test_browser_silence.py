"""Lists over a network that has gone silent: sockets stay open, and nothing arrives."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.support.chromium import OpenPage
from tests.support.live import LiveProject
from tests.support.relays import Relay, relay_to
from tests.web.test_browser_admin import LIST as ADMIN
from tests.web.test_browser_admin import SESSION

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

NETWORK = ("Failed to load resource", "net::ERR")
JOB = """
from ingestion_progress.models.statuses import JobStatus
from tests.support.page_jobs import job_with
job_with(JobStatus.QUEUED, job_id="waits", batch="silent")
print("null")
"""
CONNECTION = ".connection:visible, #progress-connection"


@pytest.fixture(scope="module")
def relay(sqlite_project: LiveProject) -> Iterator[Relay]:
    sqlite_project.ask(JOB)
    server = sqlite_project.serve("uvicorn", KEEPALIVE_SECONDS="1")
    with relay_to(server.url) as relay:
        yield relay
    server.process.terminate()
    server.process.wait(30)


@pytest.mark.parametrize("path", ["/", "/?batch=silent", "/?sort=name", "/batches/", ADMIN])
def test_list_says_that_it_hears_nothing_and_is_live_again(
    open_page: OpenPage, sqlite_project: LiveProject, relay: Relay, path: str
):
    page = open_page(errors=NETWORK)
    name, value = sqlite_project.ask(SESSION)
    page.context.add_cookies([{"name": name, "value": value, "url": relay.url}])
    page.goto(relay.url + path)
    connection = page.locator(CONNECTION).first
    expect(connection).to_contain_text("Live", timeout=15_000)
    relay.is_frozen = True
    try:
        silent = re.compile(r"No news for \d+\ss|Connection lost|Trying again")
        expect(connection).to_contain_text(silent, timeout=30_000)
        expect(connection).not_to_contain_text("Live")
    finally:
        relay.is_frozen = False
    expect(connection).to_contain_text("Live", timeout=40_000)
