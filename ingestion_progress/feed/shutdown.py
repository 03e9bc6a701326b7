"""Rotation and shutdown: streams that the server ends although their job goes on.

Each ends between two frames and says when to reconnect, which the client does with its
`Last-Event-ID`. The delays are random, so that thousands of clients do not reconnect at once.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TypeAlias

from ingestion_progress.conf import conf
from ingestion_progress.wire.frames import encode_retry

Handler: TypeAlias = Callable[[int, FrameType | None], object]
Previous: TypeAlias = Handler | signal.Handlers | int

AGE_JITTER = 0.1
# For a connection that is cut without a closing event: sent when the stream begins.
RETRY_AFTER_CUT_SECONDS = (1.0, 5.0)
RETRY_AFTER_ROTATION_SECONDS = (0.2, 1.0)
# The process that replaces this one needs a moment to start.
RETRY_AFTER_SHUTDOWN_SECONDS = (0.5, 5.0)
# A client that does not read its closing event for this long is disconnected.
STALLED_AFTER_SECONDS = 10.0
DRAIN_SECONDS = 0.8


def stream_age_seconds() -> float:
    """The maximum age of a stream that begins now."""
    jitter = random.uniform(1 - AGE_JITTER, 1 + AGE_JITTER)  # noqa: S311  (no secret)
    return conf.max_stream_seconds * jitter


def retry_between(seconds: tuple[float, float]) -> bytes:
    """A `retry:` of a random time between these two."""
    return encode_retry(round(random.uniform(*seconds) * 1000))  # noqa: S311  (no secret)


class Termination:
    """Delays SIGTERM until `begin` has called back; then the previous handler is called.

    Without it servers wait for open streams for ever (uvicorn, granian) or cut them (daphne). A
    handler that was set with `loop.add_signal_handler` is called beside ours: a loop reads signals
    from a file descriptor, whatever handler is set.
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
        # None: set by something other than Python, and out of reach.
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
