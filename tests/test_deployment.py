"""What docs/deployment.md shows is what works."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path

import httpx
import pytest

from tests.event_streams import events, open_stream, progress_url
from tests.live import APPLICATION, ROOT, LiveProject
from tests.servers import free_port
from tests.test_stream_drain import documented_command

DOCUMENT = (ROOT / "docs" / "deployment.md").read_text()
QUEUE = """
    import sys
    from ingestion_progress.tracker import queue_job
    queue_job("report.pdf", job_id=sys.argv[1])
"""


def nginx_configuration(folder: Path, port: int, upstream: str) -> Path:
    """The documented one without TLS, on ports of this machine."""
    server, log_format = re.findall(r"```nginx\n(.*?)```", DOCUMENT, re.DOTALL)
    for documented, ours in (
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port};"),
        ("127.0.0.1:8000", upstream),
        ("/var/log/nginx/progress.log", str(folder / "access.log")),
        ("server_name progress.example.org;", "server_name localhost;"),
    ):
        assert documented in server
        server = server.replace(documented, ours)
    paths = "".join(
        f"{kind}_temp_path {folder / kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder / 'nginx.pid'}; error_log {folder / 'error.log'};\n"
        f"events {{}}\nhttp {{\n{paths}{log_format}{server}}}\n"
    )
    return configuration


@pytest.mark.skipif(
    shutil.which("nginx") is None and os.environ.get("CI") != "true",
    reason="nginx is not installed; scripts/test installs it where it may",
)
def test_documented_nginx_hands_on_each_event_at_once(sqlite_project: LiveProject, tmp_path):
    live = sqlite_project.serve("uvicorn", ALLOWED_HOSTS="127.0.0.1,localhost")
    port, job_id = free_port(), uuid.uuid4().hex
    sqlite_project.python(QUEUE, job_id).wait(30)
    configuration = nginx_configuration(tmp_path, port, live.url.removeprefix("http://"))
    proxy = sqlite_project.spawn("nginx", "-c", str(configuration), "-p", str(tmp_path))
    wait_until_open(port, proxy)
    site = f"http://127.0.0.1:{port}"
    try:
        with open_stream(f"{progress_url(site, job_id)}?token=s3cret") as response:
            first = next(events(response))  # the job is queued, so the stream goes on
        assert httpx.get(f"{site}/metrics", timeout=10).status_code == 403
        assert httpx.get(f"{site}/readyz", timeout=10).status_code == 200
    finally:
        proxy.terminate()
        proxy.wait(10)

    assert first.name == "pipeline_progress"
    access_log = (tmp_path / "access.log").read_text()
    assert job_id in access_log
    assert "s3cret" not in access_log


def wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None
        with socket.socket() as probe:
            probe.settimeout(0.05)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx did not open its port")


def test_documented_commands_are_those_that_the_tests_start():
    shell = re.search(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)[1]
    for server in ("daphne", "uvicorn", "granian"):
        words = [word for word in documented_command(server, 8000) if word != APPLICATION]
        line = next(line for line in shell.splitlines() if words[0] in line)
        assert all(word in line.split() for word in words), line
