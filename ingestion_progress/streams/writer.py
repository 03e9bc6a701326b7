"""Sends the frames of a subscription with ASGI's `send`, in the step that publishes them.

feed publishes ─► Subscription ─► FrameWriter.write(bytes)
                                    server has a faster function ─► Write(bytes), done
                                    else one step of send(message)
                                      returned ─► done          (the client keeps up)
                                      waits    ─► a task finishes it; is_busy until then,
                                                  and newer frames replace unsent ones
"""

import asyncio
import contextvars
import types
from collections.abc import Callable, Generator
from typing import Any

from ingestion_progress.wire.asgi_types import Send, Write

IDLE = object()


class FrameWriter:
    """The sink of a stream that is sent with ASGI's `send`.

    The stream's task sleeps until the end: waking it for each frame costs more than writing the
    frame.
    """

    __slots__ = ("_on_idle", "_rest", "_send", "_write", "ended", "is_busy")

    def __init__(
        self,
        send: Send,
        loop: asyncio.AbstractEventLoop,
        *,
        on_idle: Callable[[], None],
        write: Write | None = None,
    ) -> None:
        self.ended: asyncio.Future[None] = loop.create_future()
        """Done at the end of the stream, or with the error of `send`."""
        self.is_busy = False
        """`write` must not be called: a `send` waits for the client, or the stream has ended."""
        self._send = send
        self._write = write
        self._on_idle = on_idle
        self._rest: asyncio.Task[None] | None = None
        """The task that finishes a `send` which had to wait."""
        self.ended.add_done_callback(self._stop)

    def write(self, body: bytes) -> None:
        if self._write is not None and self._write(body):
            return
        steps = _idle.pop() if _idle else _new_steps()
        message = {"type": "http.response.body", "body": body, "more_body": True}
        try:
            blocker = steps.send((self._send, message))
        except Exception as error:  # noqa: BLE001  (the response handles it)
            self._fail(error)
            return
        if blocker is IDLE:  # servers write at once, as long as the client keeps up
            _idle.append(steps)
            return
        loop, self.is_busy = self.ended.get_loop(), True
        self._rest = loop.create_task(_finish(steps, blocker), context=contextvars.Context())
        self._rest.add_done_callback(self._on_sent)

    def close(self) -> None:
        """The stream has ended, and everything was sent."""
        self.is_busy = True  # from now on
        if not self.ended.done():
            self.ended.set_result(None)

    def _fail(self, error: Exception) -> None:
        self.is_busy = True
        if not self.ended.done():
            self.ended.set_exception(error)

    def _on_sent(self, rest: asyncio.Task[None]) -> None:
        self._rest = None
        if self.ended.done():
            rest.cancelled() or rest.exception()  # nobody awaits it any more
        elif rest.cancelled():
            self.ended.cancel()
        elif error := rest.exception():
            self.ended.set_exception(error)
        else:
            self.is_busy = False
            self._on_idle()

    def _stop(self, ended: asyncio.Future[None]) -> None:
        self.is_busy = True
        if self._rest is not None:
            self._rest.cancel()


Steps = Generator[object, Any, None]
_idle: list[Steps] = []
"""Generators that wait for a message to send, mostly one. Running the first step of a coroutine
inside a running generator costs half as much as alone, where its end raises an exception.
"""


def _new_steps() -> Steps:
    steps = _send_each()
    steps.send(None)
    return steps


@types.coroutine
def _send_each() -> Steps:
    """Sends what it receives, and yields what `send` waits for; IDLE in between."""
    while True:
        send, message = yield IDLE
        sending: Any = send(message)
        del send, message  # frees those of the client, which may disconnect before the next one
        is_coroutine = type(sending) is types.CoroutineType  # which `types.coroutine` may iterate
        yield from sending if is_coroutine else sending.__await__()
        del sending


async def _finish(steps: Steps, blocker: object) -> None:
    """Completes a `send` whose first step was taken elsewhere."""
    await _resume(steps, blocker)


@types.coroutine
def _resume(steps: Steps, blocker: object) -> Generator[object, Any, None]:
    while blocker is not IDLE:
        try:
            value = yield blocker
        except BaseException as error:  # noqa: BLE001  (for whatever waits, a cancellation too)
            blocker = steps.throw(error)
        else:
            blocker = steps.send(value)
