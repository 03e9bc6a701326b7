"""A PDF of 60 pages from its upload to a search hit, on a web server and with a worker.

Chromium, curl and `manage.py follow` watch its progress.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.project.test_processes import until
from tests.support.api import JOBS
from tests.support.chromium import RECORDER
from tests.support.curl import CURL, needs_curl
from tests.support.documents import pdf
from tests.support.event_streams import Event, events, percentages, progress_url
from tests.support.live import LiveProject, LiveServer
from tests.support.simulated import following

pytest_plugins = ["tests.support.browser"]
pytestmark = [pytest.mark.once, pytest.mark.browser, needs_curl]

PAGES = 134
QUERY, SENTENCE, SENTENCES_PAGE = "melt away", "the current page will appear to melt away", 57


@dataclass(frozen=True)
class Ingestion:
    """What each client received since before the start."""

    recorded: dict[str, Any]
    streamed: list[Event]
    followed: list[dict[str, Any]]


@pytest.fixture(scope="module")
def server(own_project: LiveProject) -> LiveServer:
    return own_project.serve("uvicorn")


@pytest.fixture(scope="module")
def ingestion(
    browser: Browser, server: LiveServer, own_project: LiveProject, tmp_path_factory
) -> Ingestion:
    folder: Path = tmp_path_factory.mktemp("watched")
    streamed, followed = folder / "streamed", folder / "followed"
    files = {"file": ("guide.pdf", pdf(PAGES), "application/pdf")}
    created = httpx.post(server.url + JOBS, files=files, timeout=30).raise_for_status()
    job_id = created.json()["job_id"]
    with (
        followed.open("w") as output,
        subprocess.Popen([*CURL, "--output", streamed, progress_url(server.url, job_id)]) as curl,
        following(own_project, "--json", job_id, stdout=output) as follow,
        browser.new_page() as page,
        contextlib.ExitStack() as leaving,
    ):
        leaving.callback(curl.kill)
        leaving.callback(follow.kill)
        page.add_init_script(RECORDER)
        page.goto(f"{server.url}/jobs/{job_id}/")
        element = page.locator("pipeline-progress")
        expect(element).to_have_attribute("data-connection", "live", timeout=15_000)
        until(lambda: streamed.exists() and streamed.stat().st_size and followed.stat().st_size, 20)

        own_project.spawn(sys.executable, "manage.py", "ingestion_worker")
        expect(element).to_have_attribute("data-status", "succeeded", timeout=100_000)
        assert curl.wait(60) == 0
        assert follow.wait(60) == 0
        return Ingestion(
            recorded=page.evaluate("recorded"),
            streamed=list(events(event_stream(streamed.read_bytes()))),
            followed=[json.loads(line) for line in followed.read_text().splitlines()],
        )


def event_stream(content: bytes) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=content)


def assert_whole_way(percents: list[float]) -> None:
    assert percents[0] == 0
    assert percents[-1] == 100
    assert percents == sorted(percents)
    assert any(0 < percent < 100 for percent in percents)


def test_chromium_shows_0_to_100_percent_without_a_decrease(ingestion: Ingestion):
    assert_whole_way(ingestion.recorded["percents"])
    assert ingestion.recorded["events"][-2:] == [["complete", None], ["connectionchange", "ended"]]


def test_curl_gets_increasing_states_and_complete_at_the_end(ingestion: Ingestion):
    assert_whole_way(percentages(ingestion.streamed))
    assert (ingestion.streamed[-1].name, ingestion.streamed[-1].data) == ("complete", {})
    ids = [event.cursor for event in ingestion.streamed if event.name == "pipeline_progress"]
    revisions = [int(cursor.split("-")[1]) for cursor in ids]
    assert revisions == sorted(set(revisions))


def test_follow_and_the_stream_end_with_the_same_state(ingestion: Ingestion):
    assert_whole_way([state["overall_progress_percent"] for state in ingestion.followed])
    states = [event.data for event in ingestion.streamed if event.name == "pipeline_progress"]
    assert ingestion.followed[-1] == states[-1]
    assert states[-1]["stages"]["parsing"]["total"] == PAGES


@pytest.mark.usefixtures("ingestion")
def test_sentence_is_found_with_its_page_number(server: LiveServer, own_project: LiveProject):
    found = httpx.get(f"{server.url}/api/v1/search", params={"q": QUERY}, timeout=30).json()
    (best, *_) = found["items"]
    assert (best["document_name"], best["page"]) == ("guide.pdf", SENTENCES_PAGE)
    assert SENTENCE in " ".join(best["text"].split())

    heading, text, *_ = own_project.manage("search", QUERY).splitlines()
    assert heading.startswith(f"guide.pdf, page {SENTENCES_PAGE}")
    assert SENTENCE in text
