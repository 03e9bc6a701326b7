"""What docs/deployment.md shows is what works."""

from __future__ import annotations

import contextlib
import re
import threading
import uuid
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.streams.test_drain import documented_command
from tests.support.event_streams import events, open_stream, progress_url
from tests.support.live import APPLICATION, ROOT, LiveProject
from tests.support.nginx import DOCUMENT, needs_nginx, nginx
from tests.support.servers import free_port

pytestmark = pytest.mark.once


@needs_nginx
def test_documented_nginx_hands_on_each_event_at_once(sqlite_project: LiveProject, tmp_path):
    live = sqlite_project.serve("uvicorn", ALLOWED_HOSTS="127.0.0.1,localhost")
    job_id = uuid.uuid4().hex
    sqlite_project.queue_job(job_id)
    with nginx(tmp_path, live.url) as site:
        with open_stream(f"{progress_url(site, job_id)}?token=s3cret") as response:
            first = next(events(response))  # the job is queued, so the stream goes on
        assert httpx.get(f"{site}/metrics", timeout=60).status_code == 403
        assert httpx.get(f"{site}/readyz", timeout=60).status_code == 200

    assert first.name == "pipeline_progress"
    access_log = (tmp_path / "access.log").read_text()
    assert job_id in access_log
    assert "s3cret" not in access_log


def one_line_each(shell: str) -> str:
    return re.sub(r" \\\n +", " ", shell)


def test_documented_commands_are_those_that_the_tests_start():
    shell = one_line_each(re.search(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)[1])
    for server in ("daphne", "uvicorn", "granian"):
        words = [word for word in documented_command(server, 8000) if word != APPLICATION]
        line = next(line for line in shell.splitlines() if words[0] in line)
        assert all(word in line.split() for word in words), line


def test_commands_of_the_settings_page_are_the_documented_ones():
    settings = one_line_each((ROOT / "docs" / "settings.md").read_text())
    commands = re.findall(r"^(?:uvicorn|python) .+$", settings, re.MULTILINE)
    assert len(commands) == 2
    assert all(f"\n{command}\n" in one_line_each(DOCUMENT) for command in commands)
    assert "`daphne " not in settings


@needs_nginx
def test_documented_nginx_finds_servers_again_right_after_a_restart(tmp_path):
    ports = [free_port(), free_port()]
    (documented,) = re.findall(r"server 127\.0\.0\.1:8000[^;]*;", DOCUMENT)
    servers = "\n".join(documented.replace("8000", str(port)) for port in ports)
    with nginx(tmp_path, "http://127.0.0.1:8000", changes={documented: servers}) as site:
        for _ in ports:
            assert httpx.get(site, timeout=60).status_code == 502
        with contextlib.ExitStack() as running:
            for port in ports:
                running.enter_context(serving(port))
            statuses = [httpx.get(site, timeout=60).status_code for _ in range(4)]

    assert statuses == [200] * 4


@contextlib.contextmanager
def serving(port: int) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
