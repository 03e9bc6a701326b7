"""The specification's EventSource snippet, on a page of another origin, in Chromium."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.support.event_streams import progress_url
from tests.support.live import LiveProject, LiveServer
from tests.support.servers import free_port

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

# What Chromium waits that was told nothing.
CHROMIUM_RETRY_MS = 3000
RUN = """
    import sys, time
    from ingestion_progress import track
    with track("report.pdf", job_id=sys.argv[1], stages=["parsing"]) as job:
        with job.stage("parsing", total=30) as stage:
            for _ in stage.iterate(range(30)):
                time.sleep(0.1)
"""
SNIPPET = """
    (url) => {
        window.seen = [];
        window.source = new EventSource(url);
        source.addEventListener("pipeline_progress", (event) => {
            seen.push(["progress", JSON.parse(event.data).overall_progress_percent]);
        });
        source.addEventListener("complete", () => {
            seen.push(["complete"]);
            if (!url.includes("#stay")) source.close();
        });
        source.addEventListener("error", (event) => {
            seen.push(["error", event.data ? JSON.parse(event.data) : null]);
            if (event.data) source.close();
        });
    }
"""


@pytest.fixture(scope="module")
def server(sqlite_project: LiveProject) -> Iterator[LiveServer]:
    live = sqlite_project.serve(
        "daphne", DJANGO_SETTINGS_MODULE="tests.support.settings_middleware"
    )
    yield live
    live.process.terminate()
    live.process.wait(30)


@pytest.fixture
def elsewhere(
    browser: Browser, sqlite_project: LiveProject, tmp_path: Path
) -> Iterator[Callable[[str], Page]]:
    """A page of another origin that runs the snippet with a URL."""
    (tmp_path / "index.html").write_text("<!doctype html><title>Elsewhere</title>")
    port = free_port()
    folder = str(tmp_path)
    process = sqlite_project.spawn(
        sys.executable, "-m", "http.server", str(port), "--directory", folder
    )
    page = browser.new_page()
    page.set_default_timeout(20_000)

    def run(url: str) -> Page:
        origin = f"http://127.0.0.1:{port}"
        with httpx.Client(transport=httpx.HTTPTransport(retries=6)) as client:
            client.get(origin)  # waits until it listens
        page.goto(origin)
        page.evaluate(SNIPPET, url)
        return page

    yield run
    page.close()
    process.terminate()


@pytest.fixture
def job_id() -> str:
    return uuid.uuid4().hex


def test_snippet_follows_a_job_to_complete_across_origins(
    elsewhere, server, sqlite_project, job_id
):
    sqlite_project.queue_job(job_id, "parsing")
    page = elsewhere(progress_url(server.url, job_id))
    page.wait_for_function("seen.length")

    sqlite_project.python(RUN, job_id)  # only now: however slow the browser is, it sees it all
    page.wait_for_function("seen.some(([kind]) => kind === 'complete')")

    seen = page.evaluate("seen")
    percents = [entry[1] for entry in seen if entry[0] == "progress"]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert len(percents) > 2
    assert seen[-1] == ["complete"]


def test_error_event_can_be_told_from_a_network_error(elsewhere, server):
    page = elsewhere(progress_url(server.url, "job_123"))
    page.wait_for_function("seen.length")

    assert page.evaluate("seen") == [
        [
            "error",
            {"message": "Job not found: job_123", "job_id": "job_123", "code": "not_found"},
        ]
    ]


def test_client_that_reconnects_after_the_end_gets_204(elsewhere, server, sqlite_project, job_id):
    assert sqlite_project.python(RUN, job_id).wait(30) == 0

    page = elsewhere(progress_url(server.url, job_id) + "#stay")
    page.wait_for_function("source.readyState === EventSource.CLOSED")

    # The end of the response, then the 204: EventSource names no reason for either.
    assert page.evaluate("seen") == [
        ["progress", 100],
        ["complete"],
        ["error", None],
        ["error", None],
    ]


def test_seventh_stream_of_an_origin_waits_for_one_of_six_over_http_1_1(
    elsewhere, server, sqlite_project, job_id
):
    sqlite_project.queue_job(job_id)
    page = elsewhere(progress_url(server.url, job_id))
    page.wait_for_function("source.readyState === EventSource.OPEN")
    page.evaluate("window.more = [1, 2, 3, 4, 5, 6].map(() => new EventSource(source.url))")
    page.wait_for_function("more.slice(0, 5).every((each) => each.readyState === EventSource.OPEN)")

    page.wait_for_timeout(200)  # the others took less
    assert page.evaluate("more[5].readyState === EventSource.CONNECTING")
    page.evaluate("source.close()")
    page.wait_for_function("more[5].readyState === EventSource.OPEN")


def test_stream_that_is_ended_for_its_age_is_resumed_by_its_retry_without_an_empty_message(
    elsewhere, sqlite_project, job_id
):
    live = sqlite_project.serve("uvicorn", MAX_STREAM_SECONDS="1")
    sqlite_project.queue_job(job_id, "parsing")
    page = elsewhere("about:blank")
    page.evaluate(
        """(url) => {
            window.events = [];
            window.stream = new EventSource(url);
            for (const name of ["open", "error", "message"]) {
                stream.addEventListener(name, () => events.push([name, performance.now()]));
            }
        }""",
        progress_url(live.url, job_id),
    )
    page.wait_for_function("events.filter(([name]) => name === 'open').length === 3")
    seen = page.evaluate("events")
    page.evaluate("stream.close()")
    live.process.terminate()
    live.process.wait(30)

    assert [name for name, _ in seen] == ["open", "error", "open", "error", "open"]
    waited = [after[1] - before[1] for before, after in zip(seen[1::2], seen[2::2], strict=True)]
    assert max(waited) < CHROMIUM_RETRY_MS
