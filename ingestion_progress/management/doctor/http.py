"""Reads an answer piece by piece, and notes when each piece came."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import urlencode

from ingestion_progress.management.doctor.endpoints import Hop

READ_BYTES = 65536
# More than any stream of ours sends while it is examined.
MAX_BYTES = 4 * 1024 * 1024


class End(StrEnum):
    """How an answer ended."""

    NOT_YET = "not yet"
    WHOLE = "whole"
    CUT = "cut"
    """Closed before what marks its end had come."""
    FAILED = "failed"
    """There was no answer."""


@dataclass
class Reading:
    """What came over one connection. Times are those of `time.monotonic`."""

    status: int = 0
    version: int = 11
    headers: list[tuple[str, str]] = field(default_factory=list)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    end: End = End.NOT_YET
    ended_at: float = 0.0
    error: str = ""

    def header(self, name: str) -> str:
        """All lines of that name, joined as browsers do; empty where there is none."""
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())

    @property
    def body(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    @property
    def content_type(self) -> str:
        return self.header("Content-Type").partition(";")[0].strip().lower()

    @property
    def encoding(self) -> str:
        """`gzip`, or whatever else the body is packed in; empty where it is not."""
        encoding = self.header("Content-Encoding").strip().lower()
        return "" if encoding == "identity" else encoding

    @property
    def is_stream(self) -> bool:
        return self.status == HTTPStatus.OK and self.content_type == "text/event-stream"


@dataclass(frozen=True, kw_only=True)
class Request:
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class Reader:
    """One request, and a thread that reads its answer until it ends or is told to stop."""

    def __init__(self, hop: Hop, request: Request, *, idle_seconds: float) -> None:
        self.reading = Reading()
        self._connection = hop.connection(idle_seconds=idle_seconds)
        self._request = request
        self._headers = {"Accept": "text/event-stream"} | hop.headers | dict(request.headers)
        self._socket: socket.socket | None = None
        self._is_stopped = False
        self._thread = threading.Thread(target=self._read, name="doctor-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Has the answer ended?"""
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._is_stopped = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # wakes the thread, which `close` would not
                self._socket.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        reading = self.reading
        try:
            with contextlib.closing(self._connection):
                self._connection.connect()
                # Kept: the connection forgets it where the answer is the last one.
                self._socket = self._connection.sock
                self._connection.request("GET", self._request.target, headers=self._headers)
                with self._connection.getresponse() as response:
                    reading.version = response.version
                    reading.headers = response.getheaders()
                    reading.status = response.status
                    self._read_body(response)
            end = End.WHOLE
        except (OSError, http.client.HTTPException, ValueError) as error:  # a name of no host, too
            end = End.CUT if reading.status else End.FAILED
            reading.error = describe(error)
        if not self._is_stopped:
            reading.ended_at, reading.end = time.monotonic(), end

    def _read_body(self, response: http.client.HTTPResponse) -> None:
        size = 0
        while size < MAX_BYTES and (piece := response.read1(READ_BYTES)):
            self.reading.pieces.append((time.monotonic(), piece))
            size += len(piece)


def fetch(hop: Hop, request: Request, *, seconds: float) -> Reading:
    """What the answer was after that time at the latest."""
    reader = Reader(hop, request, idle_seconds=seconds)
    reader.start()
    if not reader.wait(seconds):
        reader.stop()
        if not reader.reading.status:
            reader.reading.end = End.FAILED
            reader.reading.error = f"no answer within {seconds:g} s"
    return reader.reading


def describe(error: Exception) -> str:
    """What went wrong on a connection, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not count: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
