"""An HTTP client that records when each chunk of a response arrives."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from ingestion_progress.management.doctor.endpoints import Endpoint

# More than a stream sends during a check.
MAX_BYTES = 4 * 1024 * 1024
# The order matters: SSLCertVerificationError is a subclass of SSLError.
ERRORS = {
    ssl.SSLCertVerificationError: "the certificate is not trusted",
    ssl.SSLError: "no TLS",
    socket.gaierror: "the host name cannot be resolved",
    ConnectionRefusedError: "nothing listens on this port",
    TimeoutError: "no answer in time",
}


@dataclass
class Response:
    """What arrived over one connection. Times are those of `time.monotonic`."""

    status: int = 0
    version: int = 11
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    ended_at: float = 0.0
    """0 while it is open, and if the reader closed it."""
    error: str = ""
    """Why there is no response, or why it is incomplete."""

    def header(self, name: str) -> str:
        """All lines of that name, joined as browsers do; empty if there is none."""
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())

    @property
    def is_open(self) -> bool:
        return not self.ended_at

    @property
    def body(self) -> bytes:
        return b"".join(chunk for _, chunk in self.chunks)

    @property
    def content_type(self) -> str:
        return self.header("Content-Type").partition(";")[0].strip().lower()

    @property
    def encoding(self) -> str:
        """`gzip` or another; empty if the body is not compressed."""
        return self.header("Content-Encoding").strip().lower().removeprefix("identity")

    @property
    def is_stream(self) -> bool:
        return self.status == HTTPStatus.OK and self.content_type == "text/event-stream"

    @property
    def summary(self) -> str:
        if not self.status:
            return self.error or "no answer in time"
        return f"{self.status}, {self.content_type or 'no content type'}"


class ResponseReader:
    """A context manager: sends a request, and reads the response in a thread until it exits."""

    def __init__(
        self, endpoint: Endpoint, target: str, headers: Mapping[str, str], *, idle_seconds: float
    ) -> None:
        self.response = Response()
        self._connection = endpoint.connection(idle_seconds=idle_seconds)
        self._idle_seconds = idle_seconds
        self._target = target
        self._headers = {"Accept": "text/event-stream", **endpoint.headers, **headers}
        self._socket: socket.socket | None = None
        self._is_stopped = False
        self._thread = threading.Thread(target=self._read, name="doctor-reader", daemon=True)

    def __enter__(self) -> Response:
        self._thread.start()
        return self.response

    def __exit__(self, *exc_info: object) -> None:
        self._is_stopped = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # wakes the thread, which `close` would not
                self._socket.shutdown(socket.SHUT_RDWR)

    def fetch(self) -> Response:
        """The response, or what has arrived of it after `idle_seconds`."""
        with self as response:
            self._thread.join(self._idle_seconds)
        return response

    def _read(self) -> None:
        response = self.response
        try:
            with contextlib.closing(self._connection):
                self._connection.connect()
                # The connection drops its socket if the server sends `Connection: close`.
                self._socket = self._connection.sock
                self._connection.request("GET", self._target, headers=self._headers)
                with self._connection.getresponse() as received:
                    response.version = received.version
                    response.headers = received.getheaders()
                    response.status = received.status
                    size = 0
                    while size < MAX_BYTES and (chunk := received.read1()):
                        response.chunks.append((time.monotonic(), chunk))
                        size += len(chunk)
        except (OSError, http.client.HTTPException, ValueError) as error:  # a wrong host name
            response.error = "" if self._is_stopped else describe(error)
        response.ended_at = 0.0 if self._is_stopped else time.monotonic()


def describe(error: Exception) -> str:
    """The error of a connection as a phrase, which begins with one of ERRORS if it is known."""
    text = next((text for kind, text in ERRORS.items() if isinstance(error, kind)), "")
    if isinstance(error, ssl.SSLError):
        return f"{text}: {getattr(error, 'verify_message', '') or error.reason or error}"
    return text or (f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
