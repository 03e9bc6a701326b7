"""HTTP on uvicorn, as it should be started:
`uvicorn --http ingestion_progress.asgi.servers.uvicorn:Protocol`.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ingestion_progress.wire.asgi_types import WRITE, Send

# For the head of a request, which uvicorn gives for ever. granian's is the same.
PATIENCE_SECONDS = 30.0


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Closes a connection whose request does not get as far as the end of its head in time, and
    offers to write what many responses have in common: made a chunk of once, and not for each.
    """

    __slots__ = ("_deadline",)  # in its __dict__, a kilobyte more for each connection

    def connection_made(self, transport: Any) -> None:
        self._deadline: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Of httptools; with h11 there is no such offer."""
        super().on_message_begin()
        self.scope["extensions"] = {WRITE: self._write}

    def on_headers_complete(self) -> None:
        """Of httptools; h11 does the same without help."""
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0" and self.cycle is not None:
            self.cycle.send = CloseDelimited(self.cycle)

    def _write(self, part: bytes) -> bool:
        cycle = self.cycle  # another one's, should the client have asked again meanwhile
        if self.flow.write_paused or cycle.disconnected or not (part and cycle.chunked_encoding):
            return False
        self.transport.write(_chunk(part))
        return True

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(PATIENCE_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self in self.connections:  # and not a WebSocket's by now
            self.transport.close()


class CloseDelimited:
    """The `send` of a response to HTTP/1.0, which has no chunks: a body of unknown length ends with
    the connection.
    """

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._send: Send = cycle.send
        self._has_length = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            self._has_length = b"content-length" in names
            if not self._has_length:
                self._cycle.chunked_encoding = False
        elif not self._has_length:  # uvicorn then expects what is announced, and it is this
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)


@functools.lru_cache(maxsize=8)
def _chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)
