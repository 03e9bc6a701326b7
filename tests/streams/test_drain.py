"""SIGTERM with open streams, on servers that are started as docs/deployment.md says."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support import faults
from tests.support.event_streams import progress_url
from tests.support.live import APPLICATION, SERVERS, LiveProject, LiveServer
from tests.support.servers import free_port

STREAMS = 200
ENDING = re.compile(rb"\n\n\r\n[0-9a-fA-F]+\r\nretry: (\d+)\n\r\n0\r\n\r\n\Z")
RUN_FOR_EVER = """
    import itertools, sys, time
    from ingestion_progress import track
    with track("report.pdf", job_id=sys.argv[1], stages=["parsing"]) as job:
        with job.stage("parsing") as stage:
            for _ in itertools.count():
                stage.advance()
                time.sleep(0.02)
"""
DELETE = """
    import sys
    from ingestion_progress.tracker import delete_job
    delete_job(sys.argv[1], even_if_running=True)
"""


def documented_command(server: str, port: int) -> list[str]:
    """As docs/deployment.md has it."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return {
        "daphne": ["ingestion_progress.asgi.servers.daphne", "-v", "0", "-b", "127.0.0.1",
                   "-p", str(port)],
        "uvicorn": ["uvicorn", *address, "--no-access-log", "--timeout-graceful-shutdown", "1",
                    "--http", "ingestion_progress.asgi.servers.uvicorn:Protocol"],
        "granian": ["granian", *address, "--interface", "asginl", "--http", "1",
                    "--backpressure", "20000", "--workers-kill-timeout", "2"],
    }[server] + [APPLICATION]  # fmt: skip


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, sqlite_project: LiveProject) -> LiveServer:
    port = free_port()
    command = documented_command(request.param, port)
    process = sqlite_project.spawn(sys.executable, "-m", *command)
    live = LiveServer(f"http://127.0.0.1:{port}", process, sqlite_project)
    live.wait_until_ready()
    return live


@contextlib.contextmanager
def running(project: LiveProject, source: str) -> Iterator[str]:
    """A job that is there while the test is."""
    job_id = uuid.uuid4().hex
    process = project.python(source, job_id)
    project.wait_for_job(job_id)
    yield job_id
    process.kill()
    process.wait()
    project.ask(DELETE, job_id)


@pytest.fixture
def job_id(sqlite_project: LiveProject) -> Iterator[str]:
    with running(sqlite_project, RUN_FOR_EVER) as job_id:
        yield job_id


@pytest.fixture
def large_job_id(sqlite_project: LiveProject) -> Iterator[str]:
    with running(sqlite_project, faults.RUN_LARGE_FOR_EVER) as job_id:
        yield job_id


class Viewer:
    def __init__(self) -> None:
        self.received = bytearray()
        self.has_a_state = asyncio.Event()

    async def read(self, url: str) -> None:
        """Until the server closes."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        while part := await reader.read(65536):
            self.received += part
            if b"event: job_state" in self.received:
                self.has_a_state.set()
        writer.close()


async def end_with_viewers(server: LiveServer, job_id: str) -> tuple[list[Viewer], float]:
    """What each of them got, and how many seconds the process took to leave."""
    viewers = [Viewer() for _ in range(STREAMS)]
    url = progress_url(server.url, job_id)
    reading = asyncio.gather(*(viewer.read(url) for viewer in viewers))
    async with asyncio.timeout(30):
        await asyncio.gather(*(viewer.has_a_state.wait() for viewer in viewers))
    started = time.monotonic()
    server.process.terminate()
    await asyncio.to_thread(server.process.wait, 15)
    seconds = time.monotonic() - started
    async with asyncio.timeout(60):
        await reading
    return viewers, seconds


async def test_every_stream_ends_between_frames_and_the_process_exits(server, job_id):
    logged_before = len(server.project.log.read_text())  # by other tests
    viewers, seconds = await end_with_viewers(server, job_id)

    endings = [ENDING.search(viewer.received) for viewer in viewers]
    assert all(endings), next(v.received[-200:] for v in viewers if not ENDING.search(v.received))
    retries = [int(ending[1]) for ending in endings]
    assert 500 <= min(retries) < 1500
    assert 4000 < max(retries) <= 5000
    assert seconds < 3
    assert "Traceback" not in server.project.log.read_text()[logged_before:]


def test_client_that_does_not_read_does_not_delay_the_exit(server, large_job_id):
    (stalled,) = faults.stalled(progress_url(server.url, large_job_id), 1)
    with stalled:
        stalled.recv(1, socket.MSG_PEEK)
        time.sleep(1)  # for one frame more
        started = time.monotonic()
        server.process.terminate()
        server.process.wait(15)
        seconds = time.monotonic() - started
        received = rest_of(stalled)

    assert seconds < 4
    assert received
    assert not ENDING.search(received), "all that the server said fitted into the kernel's buffers"


def rest_of(client: socket.socket) -> bytes:
    """What the kernel still has of a server that is gone."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            received += part
    return bytes(received)
