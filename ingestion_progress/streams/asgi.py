"""Serves requests for streams in front of Django's handler.

The project's middleware and the view run as usual, and the bytes are the same, at less cost:
Django's handler runs each synchronous middleware method in the request's own thread, which is
sixteen switches between loop and thread with the default middleware, and wakes a task per frame.
"""

import asyncio
import functools
import io
import itertools
from contextlib import suppress
from typing import Any

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.urls import ResolverMatch, reverse, set_script_prefix

from ingestion_progress.api.body_length import may_have_body
from ingestion_progress.concurrency.compat.django import set_signal_sender
from ingestion_progress.concurrency.worker_thread import WorkerThread
from ingestion_progress.wire.asgi_types import WRITE, Application, Receive, Scope, Send

# When thousands of clients reconnect at once, Django's handler starts thousands of threads, which
# mostly wait for each other.
THREADS = 4
# Counted from the arrival of the request; many requests at once wait for each other.
TIMEOUT_SECONDS = 20.0


class EventStreams(ASGIHandler):
    """Wraps Django's application: `EventStreams(get_asgi_application())`.

    It answers requests for streams, and passes on all others. The synchronous parts of a request,
    its middleware and the view's queries, run in one step in one of a few threads.
    """

    def __init__(self, application: Application) -> None:
        super().__init__()
        self._application = application
        self._threads = itertools.cycle(
            [
                WorkerThread("ingestion-progress-streams", timeout_seconds=TIMEOUT_SECONDS)
                for _ in range(THREADS)
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_for_a_stream(scope):
            await self._application(scope, receive, send)
            return
        from ingestion_progress.streams.response import EventStreamResponse

        thread = next(self._threads)
        response = await self._decided(scope, receive, thread)
        if response is None:
            return
        stream = response if isinstance(response, EventStreamResponse) else None
        try:
            with _until_disconnect(receive):
                answer = await stream.begin() if stream else response
                if stream and answer is stream and stream.is_live:
                    write = scope.get("extensions", {}).get(WRITE)
                    # Awaited here: a coroutine in between would be kept as long as the stream.
                    await (await stream.send_by(send, write))
                    await send({"type": "http.response.body"})
                else:
                    await self.send_response(answer, send)
        finally:
            if stream:
                stream.end()
            # A server that stops cancels the remaining requests, and would log a traceback for each
            # stream that is complete and waits for a thread.
            with suppress(asyncio.CancelledError, TimeoutError):
                await thread.run(response.close)

    async def _decided(self, scope: Scope, receive: Receive, thread: WorkerThread) -> Any:
        """The response; None: the client disconnected before its request was complete."""
        from ingestion_progress.streams.views import unavailable

        try:
            body = await self._body_of(scope, receive)
        except RequestAborted:
            return None
        try:
            return await thread.run(self._decide, scope, body)
        except TimeoutError:  # a database that accepts connections and never answers
            return unavailable(self.request_class(scope, io.BytesIO()))
        finally:
            body.close()

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT002  (Django's signature)
        super().load_middleware(is_async=False)

    def resolve_request(self, request: Any) -> ResolverMatch:
        match: ResolverMatch = super().resolve_request(request)
        match.func = getattr(match.func, "decide", match.func)
        return match

    async def _body_of(self, scope: Scope, receive: Receive) -> Any:
        if may_have_body(scope):
            return await self.read_body(receive)
        while (message := await receive())["type"] != "http.disconnect":
            if not message.get("more_body"):
                return io.BytesIO()
        raise RequestAborted

    def _decide(self, scope: Scope, body: Any) -> Any:
        """What Django's handlers do with a request, up to the response."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = self.get_response(request) if request else refusal
        set_signal_sender(response, self.__class__)
        return response

    def _is_for_a_stream(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        folder, name = self._address
        path: str = scope["path"]
        return path.endswith(name) and folder in path

    @functools.cached_property
    def _address(self) -> tuple[str, str]:
        """What the URLs of all streams have in common: a prefix and an ending."""
        folder, _, name = reverse("ingestion_progress:jobs_progress").rpartition("/")
        return folder, f"/{name}"


class _until_disconnect:  # noqa: N801  (named like the functions of contextlib)
    """Cancels the block once the client disconnects, and suppresses that cancellation, as it does
    for a stalled client that the feed cancels.
    """

    __slots__ = ("_has_left", "_leaving", "_task")

    def __init__(self, receive: Receive) -> None:
        self._leaving = asyncio.ensure_future(receive())
        self._has_left = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (for mypy)
        self._task = task
        self._leaving.add_done_callback(self._leave)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> bool:
        from ingestion_progress.feed.subscription import aborted

        self._leaving.remove_done_callback(self._leave)
        self._leaving.cancel()
        is_over = kind is not None and issubclass(kind, asyncio.CancelledError)
        if is_over and (self._has_left or self._task in aborted):
            self._task.uncancel()
            return True
        return False

    def _leave(self, leaving: asyncio.Future[Any]) -> None:
        self._has_left = True
        leaving.exception()  # an error of `receive` means a lost client too
        self._task.cancel()
