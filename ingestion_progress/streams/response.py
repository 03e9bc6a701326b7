"""A stream as a response of Django, or the 204 in its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from ingestion_progress.streams.event_stream import EventStream
from ingestion_progress.wire.asgi_types import Send, Write

# Of the headers of a stream, those that describe a body.
OF_A_BODY = ("Content-Type", "Content-Encoding", "Cache-Control", "X-Accel-Buffering", "Connection")


class EventStreamResponse(StreamingHttpResponse):
    """Passes the stream itself to the handler: no generators are wrapped around every frame, and
    no middleware buffers, compresses or delays it.
    """

    def __init__(
        self, stream: AsyncIterator[bytes], headers: dict[str, str], *, encoding: str = "identity"
    ) -> None:
        super().__init__(
            stream,
            content_type="text/event-stream; charset=utf-8",
            headers={
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                # GZipMiddleware on Django 5.2 makes each event a gzip member, of which browsers
                # read only the first. It leaves a response alone that has an encoding.
                "Content-Encoding": encoding,
                **headers,
            },
        )
        self._stream = stream
        self.is_live = isinstance(stream, EventStream)
        """The feed writes it, and it logs its own start and end."""
        self.is_logged = self.is_live
        """The log has a line of this request already."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream

    async def send_by(self, send: Send, write: Write | None = None) -> asyncio.Future[None]:
        """Sends a live stream as Django's handler would, except for the last message. Returns a
        future that is done when that one is due.
        """
        assert isinstance(self._stream, EventStream)  # noqa: S101  (for mypy)
        await send(self._start())
        # Frees some kilobytes that would be kept as long as the stream.
        del self.headers, self.cookies
        return await self._stream.send_by(send, write)

    def end(self) -> None:
        """Ends a live stream's subscription. May be called twice."""
        if isinstance(self._stream, EventStream):
            self._stream.end()

    def _start(self) -> dict[str, Any]:
        headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in self.items()]
        cookies = [cookie.output(header="").strip() for cookie in self.cookies.values()]
        headers += [(b"Set-Cookie", cookie.encode("ascii")) for cookie in cookies]
        return {"type": "http.response.start", "status": self.status_code, "headers": headers}

    async def begin(self) -> HttpResponseBase:
        """Starts the stream in the event loop. Returns this response, or a 204, which tells a
        client that has the final state to stop reconnecting.
        """
        if not isinstance(self._stream, EventStream) or await self._stream.begin() is None:
            # The request was read whole: it has nothing left to close, and takes some kilobytes.
            closers: list[Callable[[], None]] = self._resource_closers  # type: ignore[attr-defined]
            closers[:] = [close for close in closers if not _is_of_a_request(close)]
            return self
        headers = {name: value for name, value in self.items() if name not in OF_A_BODY}
        answer = HttpResponse(status=HTTPStatus.NO_CONTENT, headers=headers)
        del answer["Content-Type"]
        answer.cookies = self.cookies
        return answer


def _is_of_a_request(close: Callable[[], None]) -> bool:
    return isinstance(getattr(close, "__self__", None), HttpRequest)


async def whole(body: bytes) -> AsyncIterator[bytes]:
    """A body that is known in advance."""
    yield body
