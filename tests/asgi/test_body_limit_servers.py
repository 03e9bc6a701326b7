"""Refused bodies on real servers: the response, the bytes written and the memory used."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.api import JOBS
from tests.support.curl import needs_curl
from tests.support.live import SERVERS, LiveProject, LiveServer

MEBIBYTE = 1024 * 1024
BODY_BYTES = 100 * MEBIBYTE
UPLOAD_LIMIT = 4 * MEBIBYTE
HELD_BYTES = 16 * MEBIBYTE
EXPECT = {"asks first": [], "sends at once": ["-H", "Expect:"]}

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads what a process has used"),
]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, sqlite_project: LiveProject) -> Iterator[LiveServer]:
    env = {"PUBLIC": "false", "MAX_UPLOAD_BYTES": str(UPLOAD_LIMIT), "LOG_FORMAT": "json"}
    live = sqlite_project.serve(request.param, **env)
    httpx.get(live.url + JOBS, timeout=60)
    yield live
    live.process.terminate()
    live.process.wait(30)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "large.txt"
    with path.open("wb") as file:
        file.truncate(BODY_BYTES)
    return path


class Costs:
    """The bytes that a server has written to files, and the growth of its memory."""

    def __init__(self, live: LiveServer) -> None:
        parent = psutil.Process(live.process.pid)
        self._processes = [parent, *parent.children(recursive=True)]
        self._written, self._held = self._now()

    def _now(self) -> tuple[int, int]:
        return (
            sum(process.io_counters().write_chars for process in self._processes),
            sum(process.memory_info().rss for process in self._processes),
        )

    def assert_small(self) -> None:
        written, held = self._now()
        assert written - self._written < MEBIBYTE
        assert held - self._held < HELD_BYTES


def curl(*args: str) -> tuple[int, str]:
    """The status and the body of the response, which curl may get while it is still sending."""
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", *args],
        capture_output=True,
        text=True,
        check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


@needs_curl
@pytest.mark.parametrize("expect", EXPECT)
@pytest.mark.parametrize(("path", "status"), [(JOBS, 401), ("/", 302), ("/login/", 413)])
def test_curl_gets_the_response_and_nothing_is_stored(server, document, path, status, expect):
    costs = Costs(server)
    form = ["-F", f"file=@{document}"]
    answered, body = curl(*EXPECT[expect], *form, server.url + path)

    assert answered == status
    assert ("unauthorized" in body) == (path == JOBS)
    costs.assert_small()


@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize(("path", "status"), [(JOBS, 401), ("/login/", 413)])
def test_httpx_gets_the_response_although_it_sends_everything_first(
    server, path, status, is_declared
):
    costs = Costs(server)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    if is_declared:
        headers["Content-Length"] = str(BODY_BYTES)
    pieces = (b"x" * MEBIBYTE for _ in range(BODY_BYTES // MEBIBYTE))
    response = httpx.post(server.url + path, content=pieces, headers=headers, timeout=30)

    assert response.status_code == status
    assert response.headers["Connection"] == "close"
    costs.assert_small()


@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "chunked"])
def test_anonymous_upload_is_not_stored(server, is_declared):
    costs = Costs(server)
    size = UPLOAD_LIMIT - MEBIBYTE // 2
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    if is_declared:
        headers["Content-Length"] = str(size)
    pieces = (b"x" * 65536 for _ in range(size // 65536))
    response = httpx.post(server.url + JOBS, content=pieces, headers=headers, timeout=30)

    assert response.status_code == 401
    costs.assert_small()


@pytest.mark.parametrize("name", SERVERS)
def test_uploads_of_the_project_may_be_larger_than_those_of_the_pipeline(name, sqlite_project):
    live = sqlite_project.serve(
        name, application="tests.support.other_uploads_asgi:application", MAX_UPLOAD_BYTES="100000"
    )
    taken = httpx.post(live.url + "/count", content=b"x" * 4 * MEBIBYTE, timeout=30)
    refused = httpx.post(live.url + "/count", content=b"x" * 9 * MEBIBYTE, timeout=30)
    live.process.terminate()
    live.process.wait(30)

    assert (taken.status_code, taken.text) == (200, str(4 * MEBIBYTE))
    assert refused.status_code == 413
