"""One stream from its admission to its end, with its log lines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any

from django.core.handlers.asgi import ASGIRequest

from ingestion_progress.auth.permissions import Grant
from ingestion_progress.concurrency.threads import release_thread
from ingestion_progress.feed import (
    AlreadyCurrent,
    EndReason,
    Feed,
    Selection,
    Subscription,
    get_feed,
)
from ingestion_progress.streams.limits import (
    Connection,
    ConnectionLimits,
    get_connection_limits,
)
from ingestion_progress.streams.writer import FrameWriter
from ingestion_progress.wire.asgi_types import Send, Write
from ingestion_progress.wire.frames import refused_frame

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A request for a stream that was granted."""

    request: ASGIRequest
    selection: Selection
    grant: Grant

    @property
    def client_ip(self) -> str:
        return str(self.request.META.get("REMOTE_ADDR", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewer:
    """What log lines may contain about a viewer: never a query string, which may hold a secret."""

    job_id: str
    client_ip: str

    @property
    def log_fields(self) -> dict[str, Any]:
        # The id comes from the URL; a line break in it would forge a log line.
        printable = self.job_id if self.job_id.isprintable() else repr(self.job_id)[1:-1]
        return {"job_id": printable[:255], "client_ip": self.client_ip}


class EventStream(AsyncIterator[bytes]):
    """What the ASGI handler iterates: a subscription, and the connection that it counts as."""

    __slots__ = (
        "_connection",
        "_encoding",
        "_feed",
        "_is_closed",
        "_limits",
        "_stream_request",
        "_subscription",
        "_viewer",
    )

    def __init__(self, stream_request: StreamRequest, *, encoding: str) -> None:
        self._stream_request: StreamRequest | None = stream_request
        self._encoding = encoding
        self._viewer = Viewer(
            job_id=",".join(stream_request.selection.access_ids),
            client_ip=stream_request.client_ip,
        )
        self._connection: Connection | None = None
        self._is_closed = False

    async def begin(self) -> AlreadyCurrent | None:
        """Subscribes in the running event loop, and waits for the first state."""
        assert self._stream_request is not None  # noqa: S101  (for mypy)
        granted, self._stream_request = self._stream_request, None
        self._feed: Feed = get_feed()
        self._limits: ConnectionLimits = get_connection_limits()
        selection = granted.selection
        connection = self._connection = self._limits.admit(
            granted.request, selection.access_ids, granted.grant
        )
        if connection is None:
            # Not a 4xx, which ends an EventSource for good.
            self._subscription = Subscription(selection, asyncio.get_running_loop())
            frame = refused_frame(selection.error_job_id, "too_many_streams")
            self._subscription.end(frame, EndReason.REFUSED)
            self._log("sse_stream_refused", code="too_many_streams")
        else:
            self._subscription = connection.subscription = self._feed.join(selection)
        try:
            answer = await self._feed.opened(self._subscription)
        except BaseException:  # the client has left before there was an answer
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
        """Sends the same bytes in the same order as the iteration, by ASGI's own `send` or the
        server's shorter way; the feed calls it. Returns a future that is done at the end: until
        then there is nothing to do.
        """
        await send({"type": "http.response.body", "body": self._open(), "more_body": True})
        subscription, loop = self._subscription, asyncio.get_running_loop()
        writer = FrameWriter(send, loop, on_idle=subscription.hand_out, write=write)
        subscription.attach(writer)
        return writer.ended

    async def _begin_to_read(self) -> bytes:
        # Here and not in the view, because middleware may touch the ORM on its way out.
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
            self._feed.unsubscribe(self._subscription)
            self._limits.release(self._connection)

    async def aclose(self) -> None:
        """Called by Django's handler at the end of the stream and when the client has left."""
        self.end()

    def end(self) -> None:
        """Leaves the feed, and logs how the stream ended. May be called twice."""
        # Without a place in the feed it has not begun.
        if self._is_closed or self._connection is None or self._connection.subscription is None:
            return
        self._is_closed = True
        self._leave()
        subscription, reason = self._subscription, self._subscription.end_reason
        event = "sse_client_disconnected"
        if reason is not None and reason.is_for_now:
            event = "sse_stream_rotated"
        elif subscription.has_ended:
            event = "sse_stream_completed"
        sent = subscription.output
        self._log(event, percent=sent.last_percent, frames_sent=sent.frames_sent)

    def _log(self, event: str, **fields: Any) -> None:
        logger.info(event, extra=self._viewer.log_fields | fields)
