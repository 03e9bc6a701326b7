"""When the peers' servers publish: at a rate, or again as soon as all clients have the frame."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

RATE = float(os.environ.get("BENCH_RATE", "2"))
# Full speed begins when this file exists: clients cannot connect while the event loop is busy.
SIGNAL = os.environ.get("BENCH_FULL_SPEED_SIGNAL", "")
# How many passes of the event loop a slow client is waited for; then the others get the next frame.
PASSES = 40


is_at_full_speed = threading.Event()


def _await_signal() -> None:
    while not Path(SIGNAL).exists():
        time.sleep(0.05)
    is_at_full_speed.set()


if SIGNAL:
    threading.Thread(target=_await_signal, daemon=True).start()


def pause_seconds() -> float:
    """The pause between two frames of one client."""
    return 0 if is_at_full_speed.is_set() else 1 / RATE


async def keep_publishing(
    publish: Callable[[], object], has_arrived: Callable[[], bool] = lambda: True
) -> None:
    """Publishes for ever. `has_arrived`: are all clients ready for the next frame?"""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while not is_at_full_speed.is_set():
        publish()
        due += 1 / RATE
        await asyncio.sleep(max(0.0, due - loop.time()))
    while True:
        publish()
        for _ in range(PASSES):
            await asyncio.sleep(0)
            if has_arrived():
                break


class Hub:
    """Sends what is published to each waiting client, through one Future per client."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self.latest = make()
        self.client_count = 0
        self._waiters: list[asyncio.Future[bytes]] = []
        self._publishing: asyncio.Task[None] | None = None

    def join(self) -> bytes:
        """Adds a client and returns the newest frame; the first client starts the publishing."""
        self.client_count += 1
        if self._publishing is None:
            work = keep_publishing(self.publish, self.has_arrived)
            self._publishing = asyncio.get_running_loop().create_task(work)
            self.latest = self._make()
        return self.latest

    def leave(self) -> None:
        self.client_count -= 1

    def next(self) -> asyncio.Future[bytes]:
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def publish(self) -> None:
        self.latest = self._make()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(self.latest)

    def has_arrived(self) -> bool:
        return len(self._waiters) >= self.client_count
