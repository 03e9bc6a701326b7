"""A sink of a user, which need not be a Future or a FrameWriter."""

from __future__ import annotations

import asyncio

from ingestion_progress.feed import Selection, Subscription
from tests.support.frames import frame


class Collected:
    """Takes everything, and never says that it is busy."""

    is_busy = False

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.closed = 0

    def write(self, data: bytes) -> None:
        self.bodies.append(data)

    def close(self) -> None:
        self.closed += 1


async def test_sink_is_closed_once_after_the_last_frame():
    subscription = Subscription(Selection.one("job"), asyncio.get_running_loop())
    sink = Collected()
    subscription.attach(sink)
    subscription.put("job", frame(1))
    subscription.put("job", frame(100, is_final=True))
    subscription.close()

    assert sink.bodies == [frame(1).body, frame(100).body]
    assert sink.closed == 1


async def test_unsent_frame_precedes_a_newer_one_once_the_sink_is_free_again():
    subscription = Subscription(Selection.active(), asyncio.get_running_loop())
    sink = Collected()
    sink.is_busy = True
    subscription.attach(sink)
    subscription.put("a", frame(1))
    sink.is_busy = False
    subscription.put("b", frame(2))

    assert sink.bodies == [frame(1).body, frame(2).body]
