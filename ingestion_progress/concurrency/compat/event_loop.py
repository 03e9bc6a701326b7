"""asyncio: which event loop runs in this thread."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden_event_loop() -> Iterator[None]:
    """Inside the block Django sees no running event loop, and allows this thread's database
    connections. Nothing in the block may wait for the loop.
    """
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)  # noqa: SLF001
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)  # noqa: SLF001
