"""The ends of streams: the process gets SIGTERM, or a client disconnects."""

from __future__ import annotations

import signal
import socket
import statistics
import time
from typing import Any, Self

from benchmarks.candidates import Candidate
from benchmarks.measures.fan_out import SETTLE_SECONDS, wait_for_all, warm_up
from benchmarks.stage import Stage

PATIENCE_SECONDS = 30.0
DEPARTURES = 20


def termination(
    stage: Stage, candidate: Candidate, *, clients: int, seconds: float
) -> dict[str, Any]:
    """SIGTERM with open streams, on a server that was started without flags for it."""
    del seconds
    with (
        stage.writer(candidate),
        stage.serve(candidate) as server,
        stage.clients(candidate, server, clients) as load,
    ):
        wait_for_all(load, clients)
        time.sleep(SETTLE_SECONDS)
        load.start()
        since = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE_SECONDS)
        gone_after = time.monotonic() - since
        time.sleep(0.2)  # the last bytes reach the client
        closed = load.stop()["closed"]
    return {
        "streams": clients,
        "closed": closed,
        "gone_after_seconds": round(gone_after, 3),
    }


def departures(
    stage: Stage, candidate: Candidate, *, clients: int, seconds: float
) -> dict[str, Any]:
    """Measures from a client's `close` until the feed has one subscriber less."""
    del seconds
    waits = []
    with stage.writer(candidate), stage.serve(candidate, instrumented=True) as server:
        warm_up(stage, candidate, server)
        with stage.clients(candidate, server, clients) as load, _Counter(server.port) as counter:
            wait_for_all(load, clients)
            for _ in range(DEPARTURES):
                client = socket.create_connection(("127.0.0.1", server.port))
                client.sendall(f"GET {candidate.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                counter.wait_for(clients + 1)
                time.sleep(0.05)
                since = time.monotonic()
                client.close()
                counter.wait_for(clients)
                waits.append((time.monotonic() - since) * 1000)
    waits.sort()
    return {
        "streams": clients,
        "departures": DEPARTURES,
        "cleaned_up_ms": {
            "p50": round(statistics.median(waits), 2),
            "p90": round(waits[int(DEPARTURES * 0.9) - 1], 2),
            "max": round(waits[-1], 2),
        },
    }


class _Counter:
    """Requests the number of subscribers, on one connection; a request takes 0.3 ms."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._ask() != count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"there are not {count} subscribers")

    def _ask(self) -> int:
        self._socket.sendall(b"GET /bench/streams HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while True:
            answer += self._socket.recv(4096)
            head, separator, body = answer.partition(b"\r\n\r\n")
            if separator and len(body) >= _length(head):
                return int(body)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ValueError(head)
