"""Rotation and shutdown: streams that the server ends before their jobs end.

Each ends between two frames with a `retry:`, and its client reconnects with its `Last-Event-ID`.
The delays are random, so that thousands of clients do not reconnect at once.
"""

import asyncio
import contextvars
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from types import FrameType
from typing import Any, TypeAlias

from ingestion_progress.feed.ending import EndReason
from ingestion_progress.feed.subscription import Subscription
from ingestion_progress.wire.frames import Message, retry_between

Handler: TypeAlias = Callable[[int, FrameType | None], object]
Previous: TypeAlias = Handler | signal.Handlers | int

RETRY_AFTER_ROTATION_SECONDS = (0.2, 1.0)
# The process that replaces this one needs a moment to start.
RETRY_AFTER_SHUTDOWN_SECONDS = (0.5, 5.0)
# A client that does not read its closing event for this long is disconnected.
STALLED_AFTER_SECONDS = 10.0
DRAIN_SECONDS = 0.8


def end_temporarily(subscription: Subscription, reason: EndReason) -> None:
    """Ends a stream whose client is to reconnect and resume."""
    seconds = RETRY_AFTER_ROTATION_SECONDS
    if reason is EndReason.SHUTDOWN:
        seconds = RETRY_AFTER_SHUTDOWN_SECONDS
    subscription.end(Message(body=retry_between(seconds)), reason)


def start_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]
) -> asyncio.Task[None]:
    """A task in an empty context. The context of the first request refers to the executor and the
    database thread of that request, which end with it.
    """
    return loop.create_task(work, context=contextvars.Context())


class Shutdown:
    """Ends all streams of the process, once."""

    def __init__(self, subscriptions: set[Subscription], clock: Callable[[], float]) -> None:
        self._subscriptions = subscriptions
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop in which it has begun."""

    def begin(self, then: Callable[[], None]) -> None:
        """Calls `then` once all clients have the closing event, or after `DRAIN_SECONDS`."""
        for subscription in self._subscriptions:
            end_temporarily(subscription, EndReason.SHUTDOWN)
        self.loop = asyncio.get_running_loop()
        self._task = start_task(self.loop, self._wait(then))

    async def _wait(self, then: Callable[[], None]) -> None:
        deadline = self._clock() + DRAIN_SECONDS
        while self._subscriptions and self._clock() < deadline:  # noqa: ASYNC110  (once per process)
            await asyncio.sleep(0.02)
        for subscription in list(self._subscriptions):
            subscription.abort()
        await asyncio.sleep(0.1)  # the last bytes leave a server's own buffers
        then()


class SigtermHandler:
    """Delays SIGTERM until `begin` has called back; then the previous handler is called.

    Without it servers wait for open streams for ever (uvicorn, granian) or cut them (daphne). A
    handler that was set with `loop.add_signal_handler` is called in any case: a loop reads signals
    from a file descriptor, independently of the handler.
    """

    def __init__(self, begin: Callable[[Callable[[], None]], None]) -> None:
        self._begin = begin
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler: Handler | None = None

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """To be called in the loop's thread; handlers can be set in the main thread only."""
        if loop is self._loop or threading.current_thread() is not threading.main_thread():
            return
        self._loop = loop
        previous = signal.getsignal(signal.SIGTERM)
        # None: set by code other than Python, and it cannot be called.
        if previous in {self._handler, signal.SIG_IGN, None}:
            return
        self._handler = partial(self._handle, previous)
        signal.signal(signal.SIGTERM, self._handler)

    def _handle(self, previous: Previous, number: int, frame: FrameType | None) -> None:
        if self._loop is None or not self._loop.is_running():
            _pass_on(previous, number, frame)
        else:
            self._loop.call_soon_threadsafe(self._begin, partial(_pass_on, previous, number, None))


def _pass_on(previous: Previous, number: int, frame: FrameType | None) -> None:
    if callable(previous):
        previous(number, frame)
    else:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
