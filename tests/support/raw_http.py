"""HTTP over a socket: the head as the server wrote it, and the body byte for byte."""

from __future__ import annotations

import socket
import zlib
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

# Headers that differ between two equal responses.
LEFT_OUT = {"date", "server"}
END_OF_CHUNKS = b"0\r\n\r\n"


@dataclass
class Exchange:
    """One request on a separate connection, and the part of the response that was read."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "GET"
    version: str = "1.1"
    is_over: bool = False
    """The response is complete."""

    def __enter__(self) -> Self:
        self._received = b""
        parts = urlsplit(self.url)
        self.target = parts.path + (f"?{parts.query}" if parts.query else "")
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=20)
        lines = [f"{self.method} {self.target} HTTP/{self.version}", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def read_until(self, needle: bytes, times: int = 1) -> None:
        """Reads until the body contains `needle` that many times."""
        while self.body.count(needle) < times:
            assert not self.is_over, f"ended before {needle!r}: {self.body!r}"
            self._read_more()

    def read_to_end(self) -> Self:
        while not self.is_over:
            self._read_more()
        return self

    @property
    def status_line(self) -> str:
        return self._head_lines[0]

    @property
    def header_lines(self) -> list[str]:
        """The headers, sorted by name, without those that differ each time."""
        lines = [line for line in self._head_lines[1:] if self._name(line) not in LEFT_OUT]
        return sorted(lines, key=str.lower)

    @property
    def body(self) -> bytes:
        """The body that was read: the chunks joined, and gzip unpacked."""
        body = b"".join(self._chunks()) if self._says("transfer-encoding: chunked") else self._raw
        if not self._says("content-encoding: gzip") or not body:
            return body
        unpacker = zlib.decompressobj(wbits=31)
        unpacked = unpacker.decompress(body)
        # Browsers read one gzip member, and ignore what follows.
        assert not unpacker.unused_data
        assert unpacker.eof or not self.is_over
        return unpacked

    @property
    def last_id(self) -> str:
        """The last `id` of the events that were read, with which a client resumes."""
        return self.body.rpartition(b"\nid: ")[2].partition(b"\n")[0].decode()

    @property
    def _head_lines(self) -> list[str]:
        return self._received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")

    @property
    def _raw(self) -> bytes:
        return self._received.partition(b"\r\n\r\n")[2]

    def _chunks(self) -> list[bytes]:
        chunks, rest = [], self._raw
        while b"\r\n" in rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            assert rest[length : length + 2] == b"\r\n"
            chunks.append(rest[:length])
            rest = rest[length + 2 :]
        return chunks

    def _read_more(self) -> None:
        part = self._socket.recv(65536)
        self._received += part
        self.is_over = not part or self._is_complete()

    def _is_complete(self) -> bool:
        if b"\r\n\r\n" not in self._received:
            return False
        if self.method == "HEAD" or self.status_line.split()[1] in {"204", "304"}:
            return True
        if self._says("transfer-encoding: chunked"):
            return b"\r\n" + self._raw[-5:] == b"\r\n" + END_OF_CHUNKS
        length = next(
            (line for line in self._head_lines if self._name(line) == "content-length"), None
        )
        return length is not None and len(self._raw) >= int(length.partition(":")[2])

    def _says(self, header: str) -> bool:
        return any(line.lower() == header for line in self._head_lines)

    @staticmethod
    def _name(line: str) -> str:
        return line.partition(":")[0].lower()
