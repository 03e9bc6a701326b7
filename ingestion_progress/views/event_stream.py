"""The life of one stream as an HTTP response: its first byte, its end, its logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections
from django.http import StreamingHttpResponse

from ingestion_progress.feed import Outlet, Send, Subscriber
from ingestion_progress.threads import SharedThread

logger = logging.getLogger(__name__)


def release_connections() -> None:
    """Closes this thread's database connections, but for those within a transaction."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


async def release_thread() -> None:
    """Gives back the thread in which asgiref runs the synchronous parts of this request, and the
    database connections in it. Whatever needs a thread afterwards gets another one.

    Otherwise both are kept until the response has ended: 10,000 streams would be 10,000 threads.
    """
    await sync_to_async(release_connections, thread_sensitive=True)()
    request_context = SyncToAsync.thread_sensitive_context.get(None)
    if request_context is None:  # a handler that lets all requests share one thread
        return
    executor = SyncToAsync.context_to_thread_executor.get(request_context)
    if executor is None or isinstance(executor, SharedThread):
        return
    del SyncToAsync.context_to_thread_executor[request_context]
    executor.shutdown(wait=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewer:
    """What the logs may know of who watches: never a query string, for it may hold a secret."""

    job_id: str
    client_ip: str

    @property
    def log_fields(self) -> dict[str, Any]:
        # Whoever writes the URL chooses the id; a line break in it would forge a log line.
        printable = self.job_id if self.job_id.isprintable() else repr(self.job_id)[1:-1]
        return {"job_id": printable[:255], "client_ip": self.client_ip}


class EventStream(AsyncIterator[bytes]):
    """What the ASGI handler iterates: the subscriber, and what belongs around it."""

    def __init__(
        self,
        subscriber: Subscriber,
        viewer: Viewer,
        *,
        leave: Callable[[], None],
        send: Send | None = None,
    ) -> None:
        """With ASGI's own `send` all but the first bytes go by it, and the iteration that began
        with those waits for the end: the same bytes in the same order.
        """
        self._subscriber = subscriber
        self._leave = leave
        self._viewer = viewer
        self._send = send
        self._is_closed = False

    def __anext__(self) -> Awaitable[bytes]:
        if not self._subscriber.is_open:
            return self._open()
        if self._send is None:
            return self._subscriber.__anext__()
        outlet = Outlet(self._send, asyncio.get_running_loop(), on_idle=self._subscriber.hand_out)
        self._subscriber.attach(outlet)
        return outlet.ended

    async def _open(self) -> bytes:
        # Here and not in the view, because middleware may touch the ORM on its way out.
        await release_thread()
        self._subscriber.reader = asyncio.current_task()
        logger.info("sse_stream_started", extra=self._viewer.log_fields)
        return self._subscriber.open()

    async def aclose(self) -> None:
        """Called by the handler at the end of the stream and when the client has gone."""
        if self._is_closed:
            return
        self._is_closed = True
        self._leave()
        event = "sse_client_disconnected"
        if self._subscriber.has_ended:
            event = "sse_stream_completed"
        elif self._subscriber.is_parted:
            event = "sse_stream_parted"
        fields = {
            "percent": self._subscriber.last_percent,
            "frames_sent": self._subscriber.frames_sent,
        }
        logger.info(event, extra=self._viewer.log_fields | fields)


class EventStreamResponse(StreamingHttpResponse):
    """Yields the stream itself to the handler: no wrapper generators around every frame, and
    none by middleware that would buffer, compress or delay.
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
                # GZipMiddleware on Django 5.2 would make each event a gzip member of its own,
                # of which browsers read the first. It keeps off what has an encoding.
                "Content-Encoding": encoding,
                **headers,
            },
        )
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream
