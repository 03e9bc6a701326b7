"""benchmarks/load.c in Python, if there is no compiler: the same arguments, commands and responses.

It is the bottleneck at full speed, as its `client_cpu_percent` shows.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUFFER_BYTES = 256 * 1024
PATIENCE_SECONDS = 60.0
STARTED, ELAPSED = b'"started_at":', b'"elapsed_ms":'


@dataclass(eq=False)
class Client:
    sock: socket.socket
    since: float
    state: str = "connecting"
    carry: bytes = b""
    first: float | None = None
    frames: int = 0


@dataclass
class Counts:
    started_at: float = field(default_factory=time.monotonic)
    cpu_at: float = field(default_factory=time.process_time)
    frames: int = 0
    messages: int = 0
    bytes: int = 0
    ages: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)


def distribution(seconds: list[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    ordered = sorted(seconds)

    def quantile(q: float) -> float:
        return round(ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)] * 1000, 3)

    return {"count": len(ordered)} | {
        name: quantile(q) for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }


class Load:
    def __init__(
        self,
        address: tuple[str, int],
        path: str,
        total: int,
        in_flight: int,
        headers: Iterator[bytes],
    ) -> None:
        self.address, self.total, self.in_flight_max = address, total, in_flight
        self.headers = headers
        self.request = (
            f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n"
            "Accept: text/event-stream\r\n"
        ).encode()
        self.selector = selectors.DefaultSelector()
        self.selector.register(0, selectors.EVENT_READ)
        self.clients: list[Client] = []
        self.in_flight = self.failed = self.refused = self.closed = self.with_frame = 0
        self.counts: Counts | None = None
        self.began = time.monotonic()
        self.is_ready = False

    def run(self, sources: int) -> None:
        while True:
            while len(self.clients) < self.total and self.in_flight < self.in_flight_max:
                self.open(f"127.0.0.{2 + len(self.clients) % sources}")
            for key, _ in self.selector.select(0.1):
                if key.data is None:
                    self.handle_command(os.read(0, 64))
                else:
                    self.on_event(key.data)
            if not self.is_ready and self.are_all_there():
                self.say_ready()

    def are_all_there(self) -> bool:
        if time.monotonic() - self.began > PATIENCE_SECONDS:
            return True
        return len(self.clients) == self.total and self.with_frame + self.failed >= self.total

    def open(self, source: str) -> None:
        sock = socket.socket()
        sock.settimeout(0)
        sock.bind((source, 0))
        client = Client(sock, time.monotonic())
        self.clients.append(client)
        self.in_flight += 1
        with contextlib.suppress(BlockingIOError):
            sock.connect(self.address)
        self.selector.register(sock, selectors.EVENT_WRITE, client)

    def end(self, client: Client) -> None:
        self.selector.unregister(client.sock)
        client.sock.close()
        if client.state == "streaming":
            self.closed += 1
        else:
            self.failed += 1
            self.in_flight -= 1
        client.state = "closed"

    def on_event(self, client: Client) -> None:
        try:
            if client.state == "connecting":
                client.sock.send(self.request + next(self.headers, b"") + b"\r\n")
                client.state = "waiting"
                self.selector.modify(client.sock, selectors.EVENT_READ, client)
                return
            data = client.sock.recv(BUFFER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end(client)
            return
        if self.counts:
            self.counts.bytes += len(data)
        self.parse(client, client.carry + data, time.time())

    def parse(self, client: Client, data: bytes, received: float) -> None:
        if client.state == "waiting":
            head, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                client.carry = head
                return
            if head[8:12] != b" 200":
                self.refused += 1
                self.end(client)
                return
            client.state = "streaming"
            self.in_flight -= 1
        *messages, client.carry = data.split(b"\n\n")
        for message in messages:
            self.on_message(client, message, received)

    def on_message(self, client: Client, message: bytes, received: float) -> None:
        before, separator, rest = message.partition(STARTED)
        if self.counts:
            self.counts.messages += 1
        if not separator or ELAPSED not in rest:
            return
        if client.first is None:
            client.first = time.monotonic() - client.since
            self.with_frame += 1
        if self.counts is None:
            return
        self.counts.frames += 1
        client.frames += 1
        started_at, rest = rest.split(b",", 1)
        elapsed_ms = rest.partition(ELAPSED)[2].split(b",", 1)[0]
        self.counts.ages.append(received - float(started_at) - float(elapsed_ms) / 1000)
        if b"@" in before:
            said_at = before.partition(b"@")[2].split(b'"', 1)[0]
            self.counts.writes.append(received - float(said_at))

    def handle_command(self, words: bytes) -> None:
        if not words:
            sys.exit()
        if words.startswith(b"start"):
            self.counts = Counts()
            for client in self.clients:
                client.frames = 0
        elif words.startswith(b"stop") and self.counts:
            self.report(self.counts)
            self.counts = None

    def report(self, counts: Counts) -> None:
        seconds = time.monotonic() - counts.started_at
        frames = [each.frames for each in self.clients if each.state == "streaming"] or [0]
        self.say(
            seconds=round(seconds, 4),
            frames=counts.frames,
            messages=counts.messages,
            bytes=counts.bytes,
            streams=self.with_frame - self.closed,
            closed=self.closed,
            fewest_frames=min(frames),
            most_frames=max(frames),
            client_cpu_percent=round(100 * (time.process_time() - counts.cpu_at) / seconds, 1),
            age_ms=distribution(counts.ages),
            write_ms=distribution(counts.writes),
        )

    def say_ready(self) -> None:
        self.is_ready = True
        self.say(
            streams=self.with_frame - self.closed,
            failed=self.failed,
            refused=self.refused,
            seconds=round(time.monotonic() - self.began, 3),
            first_frame_ms=distribution([c.first for c in self.clients if c.first is not None]),
        )

    def say(self, **answer: Any) -> None:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    host, port, path, clients, in_flight, sources, *files = sys.argv[1:]
    lines = iter(Path(files[0]).read_bytes().splitlines(keepends=True) if files else [])
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    Load((host, int(port)), path, int(clients), int(in_flight), lines).run(int(sources))
