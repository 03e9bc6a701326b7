"""One stream as a Django response, from its admission to its end, with its log lines."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from http import HTTPStatus
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from ingestion_progress.auth.permissions import Grant
from ingestion_progress.concurrency.compat.django import forget_request
from ingestion_progress.concurrency.request_thread import release_thread
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.feed import AlreadyCurrent, EndReason, Selection, Subscription, get_feed
from ingestion_progress.recovery.rescuer import rescuer
from ingestion_progress.streams.limits import Connection, get_connection_limits
from ingestion_progress.streams.writer import FrameWriter
from ingestion_progress.wire.asgi_types import Send, Write
from ingestion_progress.wire.frames import refused_frame

logger = logging.getLogger(__name__)

# Headers of a stream that describe a body.
OF_A_BODY = ("Content-Type", "Content-Encoding", "Cache-Control", "X-Accel-Buffering", "Connection")


class EventStream(AsyncIterator[bytes]):
    """What the ASGI handler iterates: a subscription, and the admitted connection."""

    __slots__ = (
        "_client_ip", "_connection", "_encoding", "_granted", "_is_closed", "_job_ids",
        "_subscription",
    )  # fmt: skip

    def __init__(
        self, request: ASGIRequest, selection: Selection, grant: Grant, *, encoding: str
    ) -> None:
        self._granted: tuple[ASGIRequest, Selection, Grant] | None = (request, selection, grant)
        """None from the beginning of the stream, which can last longer than the request."""
        self._encoding = encoding
        self._job_ids = ",".join(selection.access_ids)
        self._client_ip = request.META.get("REMOTE_ADDR", "")
        self._connection: Connection | None = None
        self._is_closed = False

    async def begin(self) -> AlreadyCurrent | None:
        """Subscribes in the running event loop, and waits for the first state."""
        assert self._granted is not None  # noqa: S101  (for mypy)
        (request, selection, grant), self._granted = self._granted, None
        feed, limits = get_feed(), get_connection_limits()
        connection = limits.admit(request, selection.access_ids, grant)
        self._connection = connection
        if connection is None:
            # A 4xx would end an EventSource for good.
            self._subscription = Subscription(selection, asyncio.get_running_loop())
            frame = refused_frame(selection.error_job_id, ErrorCode.TOO_MANY_STREAMS)
            self._subscription.end(frame, EndReason.REFUSED)
            self._log("sse_stream_refused", code=ErrorCode.TOO_MANY_STREAMS)
        else:
            self._subscription = connection.subscription = feed.join(selection)
            if feed.subscriber_count == 1:
                rescuer.start()  # continues after the end of the stream
        try:
            answer = await feed.opened(self._subscription)
        except BaseException:  # the client disconnected before there was an answer
            self.end()
            raise
        if isinstance(answer, AlreadyCurrent):
            self._is_closed = True
            self._leave()
            self._log("sse_stream_up_to_date")
            return answer
        if self._encoding == "gzip":
            self._subscription.output.compress()
        return None

    def __anext__(self) -> Awaitable[bytes]:
        if self._subscription.is_open:
            return self._subscription.__anext__()
        return self._begin_to_read()

    async def send_by(self, send: Send, write: Write | None) -> asyncio.Future[None]:
        """Has the feed send the bytes of the iteration with ASGI's `send`, or with `write`, a
        server's faster function. Returns a future that is done at the end of the stream.
        """
        await send({"type": "http.response.body", "body": self._open(), "more_body": True})
        subscription, loop = self._subscription, asyncio.get_running_loop()
        writer = FrameWriter(send, loop, on_idle=subscription.flush, write=write)
        subscription.attach(writer)
        return writer.ended

    async def _begin_to_read(self) -> bytes:
        # Here and not in the view, because middleware may query the database after the view.
        await release_thread()
        return self._open()

    def _open(self) -> bytes:
        self._subscription.reader = asyncio.current_task()
        if self._connection is not None:
            self._log("sse_stream_started")
        return self._subscription.open()

    def _leave(self) -> None:
        """May be called twice."""
        if self._connection is not None:
            get_feed().unsubscribe(self._subscription)
            get_connection_limits().release(self._connection)

    async def aclose(self) -> None:
        """Called by Django's handler at the end of the stream and when the client disconnects."""
        self.end()

    def end(self) -> None:
        """Leaves the feed, and logs how the stream ended. May be called twice."""
        # Without a subscription the stream has not begun.
        if self._is_closed or self._connection is None or self._connection.subscription is None:
            return
        self._is_closed = True
        self._leave()
        subscription, reason = self._subscription, self._subscription.end_reason
        event = "sse_client_disconnected"
        if reason is not None and reason.is_temporary:
            event = "sse_stream_rotated"
        elif subscription.has_ended:
            event = "sse_stream_completed"
        sent, frame = subscription.output, subscription.output.last_frame
        percent = 0.0 if frame is None else frame.percent
        self._log(event, percent=percent, frames_sent=sent.frames_sent)

    def _log(self, event: str, **fields: Any) -> None:
        """Never with the query string, which may hold a token."""
        # The ids come from the URL; a line break in them would forge a log line.
        ids = self._job_ids if self._job_ids.isprintable() else repr(self._job_ids)[1:-1]
        who = {"job_id": ids[:255], "client_ip": self._client_ip}
        logger.info(event, extra=who | fields)


class EventStreamResponse(StreamingHttpResponse):
    """The handler iterates the stream directly: no generator is wrapped around each frame, and no
    middleware buffers, compresses or delays it.
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
        future that is done when the last message is due.
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
            forget_request(self)  # its body was read, and nothing is left to close
            return self
        headers = {name: value for name, value in self.items() if name not in OF_A_BODY}
        answer = HttpResponse(status=HTTPStatus.NO_CONTENT, headers=headers)
        del answer["Content-Type"]
        answer.cookies = self.cookies
        return answer


async def whole(body: bytes) -> AsyncIterator[bytes]:
    """A body that is known in advance."""
    yield body
