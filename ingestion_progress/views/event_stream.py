"""The life of one stream as an HTTP response: its first byte, its end, its logs."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.apps import apps
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from ingestion_progress.access import Grant
from ingestion_progress.asgi_types import Send, Write
from ingestion_progress.feed import Feed, Outlet, Subscriber
from ingestion_progress.frames import refused_frame
from ingestion_progress.threads import release_thread

if TYPE_CHECKING:
    from ingestion_progress.apps import IngestionProgressConfig
    from ingestion_progress.views.gate import Seat

logger = logging.getLogger(__name__)

# Of the headers of a stream, those that speak of a body.
OF_A_BODY = ("Content-Type", "Content-Encoding", "Cache-Control", "X-Accel-Buffering", "Connection")

Subscribe = Callable[[Feed], Subscriber]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """What was decided of a request that may watch these jobs; the id `""` stands for all."""

    request: ASGIRequest
    job_ids: Sequence[str]
    grant: Grant
    subscribe: Subscribe

    @property
    def only_job(self) -> str:
        """The job in the address; empty on a stream of many."""
        match = self.request.resolver_match
        return str(match.kwargs.get("job_id", "")) if match else ""


class EventStream(AsyncIterator[bytes]):
    """What the ASGI handler iterates: the subscriber, and what belongs around it."""

    __slots__ = (
        "_admission",
        "_app",
        "_encoding",
        "_is_closed",
        "_seat",
        "_subscriber",
        "_viewer",
    )

    def __init__(self, admission: Admission, *, encoding: str) -> None:
        request = admission.request
        self._admission: Admission | None = admission
        self._encoding = encoding
        self._viewer = Viewer(
            job_id=",".join(admission.job_ids), client_ip=request.META.get("REMOTE_ADDR", "")
        )
        self._seat: Seat | None = None
        self._is_closed = False

    async def begin(self) -> bool:
        """Joins the feed, in whose event loop it is to be awaited, and waits for the first state.

        False: the client has the final state already, and there is nothing to stream.
        """
        assert self._admission is not None  # noqa: S101  (for mypy)
        admission, self._admission = self._admission, None
        app = cast("IngestionProgressConfig", apps.get_app_config("ingestion_progress"))
        self._app = app
        seat = self._seat = app.gate.admit(admission.request, admission.job_ids, admission.grant)
        if seat is None:
            # Not a 4xx, which ends an EventSource for good.
            subscriber = Subscriber(admission.only_job, asyncio.get_running_loop())
            subscriber.end(refused_frame(admission.only_job, "too_many_streams"))
            self._log("sse_stream_refused", code="too_many_streams")
        else:
            subscriber = seat.subscriber = admission.subscribe(app.feed)
        self._subscriber = subscriber
        try:
            await subscriber.ready
        except BaseException:  # the client left before there was an answer
            self.end()
            raise
        if subscriber.is_up_to_date:
            self._is_closed = True
            self._leave()
            self._log("sse_stream_up_to_date")
            return False
        if self._encoding == "gzip":
            subscriber.compress()
        return True

    def __anext__(self) -> Awaitable[bytes]:
        return self._subscriber.__anext__() if self._subscriber.is_open else self._begin_to_read()

    async def send_by(self, send: Send, write: Write | None) -> asyncio.Future[None]:
        """What an iteration yields, the same bytes in the same order, by ASGI's own `send` or what
        the server has for the purpose; the feed calls it. Returns what is done at the end: there is
        nothing to do but to wait for it.
        """
        await send({"type": "http.response.body", "body": self._open(), "more_body": True})
        subscriber, loop = self._subscriber, asyncio.get_running_loop()
        outlet = Outlet(send, loop, on_idle=subscriber.hand_out, write=write)
        subscriber.attach(outlet)
        return outlet.ended

    async def _begin_to_read(self) -> bytes:
        # Here and not in the view, because middleware may touch the ORM on its way out.
        await release_thread()
        return self._open()

    def _open(self) -> bytes:
        self._subscriber.reader = asyncio.current_task()
        if self._seat is not None:
            self._log("sse_stream_started")
        return self._subscriber.open()

    def _leave(self) -> None:
        """May be called twice."""
        if self._seat is not None:
            self._app.feed.unsubscribe(self._subscriber)
            self._app.gate.release(self._seat)

    async def aclose(self) -> None:
        """Called by Django's handler at the end of the stream and when the client has gone."""
        self.end()

    def end(self) -> None:
        """Leaves the feed, and says in the log how it went. May be called twice."""
        # One that has no place in the feed has not begun.
        if self._is_closed or self._seat is None or self._seat.subscriber is None:
            return
        self._is_closed = True
        self._leave()
        event = "sse_client_disconnected"
        if self._subscriber.has_ended:
            event = "sse_stream_completed"
        elif self._subscriber.is_parted:
            event = "sse_stream_parted"
        subscriber = self._subscriber
        self._log(event, percent=subscriber.last_percent, frames_sent=subscriber.frames_sent)

    def _log(self, event: str, **fields: Any) -> None:
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
        self.is_live = isinstance(stream, EventStream)
        """The feed writes it, and it says in the log itself what becomes of it."""
        self.is_logged = self.is_live
        """The log has its line, and needs no other of the request."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream

    async def send_by(self, send: Send, write: Write | None = None) -> asyncio.Future[None]:
        """The messages that Django's handler makes of it, but for the last, where the stream is
        live. Returns what is done when that is due.
        """
        assert isinstance(self._stream, EventStream)  # noqa: S101  (for mypy)
        await send(self._start())
        # It has been sent, and would be some kilobytes for as long as the stream lives.
        del self.headers, self.cookies
        return await self._stream.send_by(send, write)

    def end(self) -> None:
        """Gives back what a live stream has taken. May be called twice."""
        if isinstance(self._stream, EventStream):
            self._stream.end()

    def _start(self) -> dict[str, Any]:
        headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in self.items()]
        cookies = [cookie.output(header="").strip() for cookie in self.cookies.values()]
        headers += [(b"Set-Cookie", cookie.encode("ascii")) for cookie in cookies]
        return {"type": "http.response.start", "status": self.status_code, "headers": headers}

    async def begin(self) -> HttpResponseBase:
        """The response to send, to be awaited in the event loop: this one, or 204, which tells a
        client that has the final state to stop reconnecting.
        """
        if not isinstance(self._stream, EventStream) or await self._stream.begin():
            # Nothing of a request that was read whole is left to close, and it is some kilobytes.
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


class StreamView:
    """A view in two steps: `decide`, in a thread, where it may ask the database; and the beginning
    of the stream, in the event loop.

    Django awaits both. `EventStreams` calls the first as a synchronous view, at the end of the
    middleware, and does the second itself.
    """

    def __init__(self, decide: Callable[..., HttpResponseBase]) -> None:
        self.decide = decide
        functools.update_wrapper(self, decide)
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        decide = sync_to_async(self.decide, thread_sensitive=True)
        response: HttpResponseBase = await decide(request, **kwargs)
        if isinstance(response, EventStreamResponse):
            return await response.begin()
        return response


async def whole(body: bytes) -> AsyncIterator[bytes]:
    """The body of an answer that is known beforehand."""
    yield body
