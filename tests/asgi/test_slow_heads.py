"""Connections that do not finish their headers, on servers with a short time-out."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.streams.test_drain import documented_command
from tests.support.event_streams import progress_url
from tests.support.live import SERVERS, LiveProject, LiveServer
from tests.support.servers import free_port

TIMEOUT_SECONDS = 1.0
# Long enough for a busy machine, and far from the servers' own 30 s.
SOON_SECONDS = 15.0
# The documented commands, with a shorter time-out.
DAPHNE = f"""
from ingestion_progress.asgi.servers import daphne
daphne.TIMEOUT_SECONDS = {TIMEOUT_SECONDS}
daphne.WebCommand.entrypoint()
"""
UVICORN = f"""
import uvicorn
from ingestion_progress.asgi.servers import uvicorn as ours
ours.HEADERS_TIMEOUT_SECONDS = {TIMEOUT_SECONDS}
uvicorn.main()
"""
COMMANDS = {
    "daphne": ["-c", DAPHNE],
    "uvicorn": ["-c", UVICORN],
    "granian": ["-m", "granian", "--http1-header-read-timeout", str(int(1000 * TIMEOUT_SECONDS))],
}
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Padding: "

pytestmark = pytest.mark.once


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, sqlite_project: LiveProject) -> Iterator[LiveServer]:
    port = free_port()
    _, *arguments = documented_command(request.param, port)
    command = [sys.executable, *COMMANDS[request.param], *arguments]
    process = sqlite_project.spawn(*command, MAX_UPLOAD_BYTES="4000000")
    live = LiveServer(f"http://127.0.0.1:{port}", process, sqlite_project)
    live.wait_until_ready()
    yield live
    process.terminate()
    process.wait(60)


@pytest.fixture(scope="module")
def job_id(sqlite_project: LiveProject) -> str:
    """Of a queued job."""
    return sqlite_project.queue_job()


@pytest.fixture
def client(server) -> Iterator[socket.socket]:
    url = urlsplit(server.url)
    with socket.create_connection((url.hostname, url.port), timeout=SOON_SECONDS) as client:
        yield client


def is_closed(client: socket.socket) -> bool:
    """Whether the server closes the connection, after any response."""
    with contextlib.suppress(ConnectionResetError):
        while client.recv(65536):
            pass
    return True


def stays_open(client: socket.socket) -> bool:
    """Whether the connection stays open while a byte is sent every 50 ms."""
    client.settimeout(0.05)
    deadline = time.monotonic() + SOON_SECONDS
    while time.monotonic() < deadline:
        try:
            client.sendall(b"x")
            if not client.recv(65536):
                return False
        except TimeoutError:
            continue
        except OSError:
            return False
    return True


def exchange(client: socket.socket, request: bytes) -> bytes:
    """Sends the request; returns the headers of the response."""
    client.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = client.recv(65536)
        assert piece, answer
        answer += piece
    return answer


@pytest.mark.parametrize(
    "part", [b"", b"GET /hea", HEAD], ids=["nothing", "half a line", "half a header"]
)
def test_connection_that_stops_before_its_headers_end_is_closed(client, part):
    client.sendall(part)

    assert is_closed(client)


@pytest.mark.parametrize("part", [b"GET /", HEAD], ids=["in the first line", "in a header"])
def test_connection_that_sends_its_headers_byte_by_byte_is_closed(client, part):
    client.sendall(part)

    assert not stays_open(client)


def test_next_request_of_a_connection_has_the_same_time_out(client):
    assert b" 200 " in exchange(client, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    client.sendall(HEAD)

    assert is_closed(client)


def test_body_may_take_longer_than_headers(client):
    pieces = 4
    client.sendall(b"POST /login/ HTTP/1.1\r\nHost: localhost\r\n")
    time.sleep(0.6 * TIMEOUT_SECONDS)
    client.sendall(b"Content-Length: %d\r\n\r\n" % pieces)
    for _ in range(pieces - 1):
        time.sleep(0.6 * TIMEOUT_SECONDS)
        client.sendall(b"x")

    assert exchange(client, b"x").startswith(b"HTTP/1.1 403 ")  # no token against forged requests


def test_stream_outlives_the_time_out_for_headers(server, job_id, client):
    path = urlsplit(progress_url(server.url, job_id)).path
    head = exchange(client, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert b"text/event-stream" in head

    client.settimeout(2 * TIMEOUT_SECONDS)
    with pytest.raises(TimeoutError):
        is_closed(client)
