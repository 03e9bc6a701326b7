from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import suppress
from typing import Any

Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Outlet:
    """Sends by ASGI's own `send` what a subscriber hands out, in the very step in which it does.

    It stands where the Future of an iteration would, and takes again and again. A stream's task
    then sleeps until the end; to wake it for each frame costs more than to write the frame.
    """

    __slots__ = ("_on_idle", "_rest", "_send", "ended")

    def __init__(
        self, send: Send, loop: asyncio.AbstractEventLoop, *, on_idle: Callable[[], None]
    ) -> None:
        self.ended: asyncio.Future[bytes] = loop.create_future()
        """Done at the end of the stream, as the last step of an iteration would be."""
        self._send = send
        self._on_idle = on_idle
        self._rest: asyncio.Task[None] | None = None
        """What is left to do of a `send` that had to wait for the client."""
        self.ended.add_done_callback(self._stop)

    def done(self) -> bool:
        """Can it take nothing now?"""
        return self._rest is not None or self.ended.done()

    def set_result(self, body: bytes) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": True}
        try:
            steps = self._send(message).__await__()
            blocker = next(steps)
        except StopIteration:  # servers write at once, as long as the client keeps up
            return
        except Exception as error:  # noqa: BLE001  (it is the response's to handle)
            self.set_exception(error)
            return
        loop = self.ended.get_loop()
        self._rest = loop.create_task(_finish(steps, blocker), context=contextvars.Context())
        self._rest.add_done_callback(self._on_sent)

    def set_exception(self, error: Exception) -> None:
        self.ended.set_exception(error)

    def _on_sent(self, rest: asyncio.Task[None]) -> None:
        self._rest = None
        if self.ended.done():
            rest.cancelled() or rest.exception()  # nobody is left to hear of it
        elif rest.cancelled():
            self.ended.cancel()
        elif error := rest.exception():
            self.ended.set_exception(error)
        else:
            self._on_idle()

    def _stop(self, ended: asyncio.Future[bytes]) -> None:
        if self._rest is not None:
            self._rest.cancel()


async def _finish(steps: Generator[Any, Any, None], blocker: object) -> None:
    """What is left of an awaitable whose first step was taken elsewhere."""
    await _resume(steps, blocker)


@types.coroutine
def _resume(steps: Generator[Any, Any, None], blocker: object) -> Generator[Any, Any, None]:
    """Waits for what the first step waits for, and goes on."""
    try:
        yield blocker
    except BaseException as error:  # noqa: BLE001  (thrown into whatever waits, a cancellation too)
        with suppress(StopIteration):
            yield from _resume(steps, steps.throw(error))
    else:
        yield from steps
