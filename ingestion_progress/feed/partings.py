"""Streams that the server ends although their job has not: too old, or the process leaves.

Each ends between two frames and tells the client when to come back, which it does with its
`Last-Event-ID`. The moments are spread out, so that a crowd does not return as one.
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
from ingestion_progress.frames import encode_retry

Handler: TypeAlias = Callable[[int, FrameType | None], object]
Previous: TypeAlias = Handler | signal.Handlers | int

AGE_JITTER = 0.1
# What a client does whose connection was cut without a word: said at the beginning.
RETRY_AFTER_CUT_SECONDS = (1.0, 5.0)
RETRY_AFTER_AGE_SECONDS = (0.2, 1.0)
# A process that replaces this one needs a moment, and every client at once would be a storm.
RETRY_AFTER_DRAIN_SECONDS = (0.5, 5.0)
# A reader that takes no bytes cannot be told; after this long its response is cancelled.
STALLED_AFTER_SECONDS = 10.0
DRAIN_SECONDS = 0.8


def stream_age_seconds() -> float:
    """How old a stream that begins now may become."""
    jitter = random.uniform(1 - AGE_JITTER, 1 + AGE_JITTER)  # noqa: S311  (no secret)
    return conf.max_stream_seconds * jitter


def come_back_after(seconds: tuple[float, float]) -> bytes:
    """Tells one client to wait for a time between these two before it connects again."""
    return encode_retry(round(random.uniform(*seconds) * 1000))  # noqa: S311  (no secret)


class Termination:
    """Lets a SIGTERM wait until `begin` has called back; then it goes where it would have gone.

    Servers wait for open streams for ever (uvicorn, granian) or cut them (daphne). A handler
    that was set with `loop.add_signal_handler` is called beside ours: a loop reads signals from
    a file descriptor, whatever handler is set.
    """

    def __init__(self, begin: Callable[[Callable[[], None]], None]) -> None:
        self._begin = begin
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler: Handler | None = None

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """From the loop's own thread; handlers can be set in the main thread only."""
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
