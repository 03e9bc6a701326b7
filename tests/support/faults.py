"""Faulty clients on real sockets; each keeps its connections until `close`."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.event_streams import events

# Connects, sends a request, and disconnects without reading, many times.
BURST = """
    import socket, sys
    from urllib.parse import urlsplit
    url, count = urlsplit(sys.argv[1]), int(sys.argv[2])
    request = f"GET {url.path} HTTP/1.1\\r\\nHost: {url.netloc}\\r\\n\\r\\n".encode()
    for number in range(count):
        client = socket.create_connection((url.hostname, url.port), timeout=30)
        client.sendall(request)
        client.close()
"""
# Opens streams, prints that they are open, and continues to read.
WATCH = """
    import select, socket, sys
    from urllib.parse import urlsplit
    clients = []
    for text in sys.argv[1:]:
        url = urlsplit(text)
        client = socket.create_connection((url.hostname, url.port), timeout=30)
        client.sendall(f"GET {url.path} HTTP/1.1\\r\\nHost: {url.netloc}\\r\\n\\r\\n".encode())
        client.recv(1)
        clients.append(client)
    print("watching", flush=True)
    while True:
        for client in select.select(clients, [], [])[0]:
            if not client.recv(65536):
                clients.remove(client)
"""
# A job with frames of 50 KB, so that unread frames fill the kernel's buffers.
RUN_LARGE_FOR_EVER = """
    import itertools, sys, time
    from ingestion_progress import track
    names = [f"{number:03}" + 60 * "x" for number in range(100)]
    with track("report.pdf", job_id=sys.argv[1], stages=names, workers=1000) as job:
        with job.stage(names[0]) as stage:
            for _ in itertools.count():
                stage.advance()
                time.sleep(0.05)
"""
# A separate network for each test process.
NETWORK = f"10.213.{os.getpid() % 256}"
HOST_ADDRESS, GUEST_ADDRESS = f"{NETWORK}.1", f"{NETWORK}.2"
SMALL_SEGMENT_BYTES = 536


def _can_make_a_network() -> bool:
    """Only root on Linux can, if the container permits it; with CI=true it must."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    if os.environ.get("CI") == "true":
        return True
    name = f"probe-{os.getpid()}"
    commands = (["ip", "netns", "add", name], ["ip", "netns", "delete", name])
    return shutil.which("ip") is not None and all(
        subprocess.run(command, capture_output=True, check=False).returncode == 0
        for command in commands
    )


HAS_NAMESPACES = _can_make_a_network()
needs_namespaces = pytest.mark.skipif(
    not HAS_NAMESPACES, reason="a host that vanishes takes root on Linux, and iproute2"
)


def ask(url: str, *, buffer_bytes: int = 0) -> socket.socket:
    """A connection that has requested the stream and does not read it."""
    parts = urlsplit(url)
    client = socket.socket()
    client.settimeout(20)
    if buffer_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        # The kernel sizes the server's buffer by the size of segments: 2 MB on loopback.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT_BYTES)
    client.connect((parts.hostname, parts.port))
    client.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    return client


def stalled(url: str, count: int) -> list[socket.socket]:
    return [ask(url, buffer_bytes=2048) for _ in range(count)]


def half_closed(url: str, count: int) -> list[socket.socket]:
    """Clients that have shut down their sending side and stay connected."""
    clients = [ask(url) for _ in range(count)]
    for client in clients:
        client.recv(1)
        client.shutdown(socket.SHUT_WR)
    return clients


def reset_in_mid_frame(url: str, count: int) -> None:
    for _ in range(count):
        client = ask(url)
        received = b""
        while b"data: {" not in received:
            received += client.recv(512)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()


class Trickle:
    """Sockets that receive or send one byte at a time."""

    def __init__(self, readers: list[socket.socket], writers: list[socket.socket]) -> None:
        self._readers, self._writers = readers, writers
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(1.0):
            for client in self._readers:
                with contextlib.suppress(OSError):
                    client.recv(1)
            for client in self._writers:
                with contextlib.suppress(OSError):
                    client.send(b"x")

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()
        for client in self._readers + self._writers:
            client.close()


def half_a_request(url: str) -> socket.socket:
    """A connection that has sent only a part of its headers."""
    parts = urlsplit(url)
    client = socket.create_connection((parts.hostname, parts.port), timeout=20)
    client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
    return client


class Reader:
    """A correct client: it records when each state arrives, and reconnects after a `retry:`."""

    def __init__(self, url: str) -> None:
        self.gaps: list[float] = []
        self._url = url
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        last = ""
        while not self._is_over.is_set():
            arrived = None
            headers = {"Last-Event-ID": last} if last else {}
            with httpx.stream("GET", self._url, headers=headers, timeout=20) as response:
                for event in events(response):
                    if event.name != "pipeline_progress":
                        continue
                    now = time.monotonic()
                    if arrived is not None:
                        self.gaps.append(now - arrived)
                    arrived, last = now, event.cursor
                    if self._is_over.is_set():
                        return
            self._is_over.wait(0.2)

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()


@contextlib.contextmanager
def vanishing_host(urls: list[str]) -> Iterator[None]:
    """Opens the streams from another host, which then vanishes without closing them."""
    name = f"faults-{os.getpid()}"
    here, there = f"fh{os.getpid()}", f"fg{os.getpid()}"
    client = None
    try:
        for command in (
            f"ip netns add {name}",
            f"ip link add {here} type veth peer name {there} netns {name}",
            f"ip addr add {HOST_ADDRESS}/30 dev {here}",
            f"ip link set {here} up",
            f"ip netns exec {name} ip addr add {GUEST_ADDRESS}/30 dev {there}",
            f"ip netns exec {name} ip link set {there} up",
        ):
            subprocess.run(command.split(), check=True, capture_output=True)
        client = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-c", textwrap.dedent(WATCH), *urls],
            stdout=subprocess.PIPE,
        )
        assert client.stdout is not None
        assert client.stdout.readline() == b"watching\n"
        subprocess.run(["ip", "link", "set", here, "down"], check=True)
        client.kill()
        yield
    finally:
        if client is not None:
            client.kill()
            client.communicate()
        for command in (f"ip link del {here}", f"ip netns del {name}"):
            subprocess.run(command.split(), check=False, capture_output=True)


def burst(url: str, count: int) -> None:
    """Opens `count` connections as fast as one process can."""
    command = [sys.executable, "-c", textwrap.dedent(BURST), url, str(count)]
    subprocess.run(command, check=True, timeout=120)
