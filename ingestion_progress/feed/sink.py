"""Where a subscription writes its bytes."""

import asyncio
from typing import Protocol


class Sink(Protocol):
    """Receives the bytes of a stream: the Future of one iteration step only once, a `FrameWriter`
    until the end.
    """

    @property
    def is_busy(self) -> bool:
        """`write` must not be called now."""

    def write(self, data: bytes, /) -> None: ...

    def close(self) -> None:
        """The stream has ended."""


class NextBytes(asyncio.Future[bytes]):
    """The sink of one step of an iteration."""

    @property
    def is_busy(self) -> bool:
        return self.done()  # also after a cancellation: the frames stay in the mailbox

    def write(self, data: bytes) -> None:
        self.set_result(data)

    def close(self) -> None:
        self.set_exception(StopAsyncIteration())
