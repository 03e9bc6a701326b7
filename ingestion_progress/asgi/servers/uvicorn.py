"""An HTTP protocol for uvicorn: `uvicorn --http ingestion_progress.asgi.servers.uvicorn:Protocol`.

It limits the time for a request's headers, and writes bytes that many streams share.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ingestion_progress.concurrency.compat import uvicorn
from ingestion_progress.wire.asgi_types import WRITE

# The time for the headers of a request. uvicorn has no limit; granian's is the same.
HEADERS_TIMEOUT_SECONDS = 30.0


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Closes connections that do not finish their headers in time, and gives applications the ASGI
    extension `WRITE`, by which many responses share one HTTP chunk.
    """

    __slots__ = ("_deadline",)  # in `__dict__` it would cost a kilobyte per connection

    _write = uvicorn.write_chunk

    def connection_made(self, transport: Any) -> None:
        self._deadline: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if uvicorn.is_waiting_for_headers(self):
            self._start_timer()
        else:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Called by httptools; with h11 there is no extension."""
        super().on_message_begin()
        self.scope["extensions"] = {WRITE: self._write}

    def on_headers_complete(self) -> None:
        """Called by httptools; h11 ends bodies for HTTP/1.0 without help."""
        super().on_headers_complete()
        uvicorn.use_close_delimited_body(self)

    def _start_timer(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_TIMEOUT_SECONDS, self._time_out)

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        if uvicorn.is_open_http(self):
            self.transport.close()
