from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from ingestion_progress.feed import Selection, Subscription
from ingestion_progress.streams.writer import FrameWriter
from ingestion_progress.wire.frames import KEEPALIVE
from tests.support.frames import frame


class Server:
    """What a server's `send` does: writes at once, or waits while its client takes nothing."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.written: list[bytes] = []
        """Those of the bodies that came by the shorter way."""
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.error: Exception | None = None

    def write(self, part: bytes) -> bool:
        if not self.may_write.is_set():
            return False
        self.written.append(part)
        self.bodies.append(part)
        return True

    async def send(self, message: Any) -> None:
        assert message["type"] == "http.response.body"
        assert message["more_body"]
        await self.may_write.wait()
        if self.error:
            raise self.error
        self.bodies.append(message["body"])


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def subscriber() -> Subscription:
    return Subscription(Selection.one("job"), asyncio.get_running_loop())


@pytest.fixture
async def outlet(subscriber, server) -> FrameWriter:
    outlet = FrameWriter(server.send, asyncio.get_running_loop(), on_idle=subscriber.hand_out)
    subscriber.attach(outlet)
    return outlet


@pytest.fixture
async def writing_outlet(subscriber, server) -> FrameWriter:
    """Of a server that has a shorter way than `send`."""
    loop = asyncio.get_running_loop()
    outlet = FrameWriter(server.send, loop, on_idle=subscriber.hand_out, write=server.write)
    subscriber.attach(outlet)
    return outlet


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_frame_is_sent_in_the_step_that_brings_it(subscriber, server, outlet):
    for number in range(3):
        subscriber.put("job", frame(number))

    assert server.bodies == [frame(number).body for number in range(3)]
    assert not outlet.ended.done()


async def test_what_was_unsent_goes_first(subscriber, server):
    subscriber.put("job", frame(1))
    outlet = FrameWriter(server.send, asyncio.get_running_loop(), on_idle=subscriber.hand_out)
    subscriber.attach(outlet)
    subscriber.send_comment()

    assert server.bodies == [frame(1).body, KEEPALIVE]


async def test_client_that_takes_nothing_gets_only_the_newest_frame_later(
    subscriber, server, outlet
):
    server.may_write.clear()
    for number in range(100):
        subscriber.put("job", frame(number))
    subscriber.send_comment()
    await turns()
    assert server.bodies == []

    server.may_write.set()
    await turns()

    assert server.bodies == [frame(0).body, frame(99).body]


async def test_final_frame_ends_the_stream_once_it_is_sent(subscriber, server, outlet):
    server.may_write.clear()
    subscriber.put("job", frame(100, is_final=True))
    await turns()
    assert not outlet.ended.done()

    server.may_write.set()

    await asyncio.wait_for(outlet.ended, 5)
    assert server.bodies == [frame(100, is_final=True).body]
    assert subscriber.has_ended


async def test_error_of_the_server_is_raised_where_the_stream_waits(subscriber, server, outlet):
    server.error = OSError("the connection broke")
    subscriber.put("job", frame(1))
    subscriber.put("job", frame(2))

    with pytest.raises(OSError, match="broke"):
        await outlet.ended


async def test_error_after_a_wait_is_raised_too(subscriber, server, outlet):
    server.may_write.clear()
    subscriber.put("job", frame(1))
    server.error = OSError("the connection broke")
    server.may_write.set()

    with pytest.raises(OSError, match="broke"):
        await outlet.ended


async def test_server_with_a_shorter_way_gets_everything_by_it(subscriber, server, writing_outlet):
    subscriber.put("job", frame(1))
    subscriber.send_comment()
    subscriber.put("job", frame(100, is_final=True))

    assert server.written == [frame(1).body, KEEPALIVE, frame(100, is_final=True).body]
    await asyncio.wait_for(writing_outlet.ended, 5)


async def test_client_that_is_behind_is_waited_for_by_send(subscriber, server, writing_outlet):
    server.may_write.clear()
    for number in (1, 2, 3):
        subscriber.put("job", frame(number))
    await turns()
    server.may_write.set()
    await turns()
    subscriber.put("job", frame(4))

    assert server.bodies == [frame(1).body, frame(3).body, frame(4).body]
    assert server.written == [frame(3).body, frame(4).body]


async def test_who_stops_waiting_stops_what_is_being_sent(subscriber, server, outlet):
    server.may_write.clear()
    subscriber.put("job", frame(1))
    (sending,) = asyncio.all_tasks() - {asyncio.current_task()}
    outlet.ended.cancel()
    await turns()

    assert sending.cancelled()
    subscriber.put("job", frame(2))
    server.may_write.set()
    await turns()
    assert server.bodies == []


async def test_closing_ends_it(subscriber, server, outlet):
    subscriber.close()

    assert outlet.ended.result() is None


async def test_nothing_of_a_client_is_kept_after_its_frame(subscriber):
    server = Server()
    outlet = FrameWriter(server.send, asyncio.get_running_loop(), on_idle=subscriber.hand_out)
    outlet.write(b"data: 1\n\n")
    assert server.bodies == [b"data: 1\n\n"]

    left = weakref.ref(server)
    del server, outlet
    gc.collect()
    assert left() is None


async def test_send_may_bring_about_another(subscriber, server, outlet):
    """As a middleware does that tells a second client what it sends to the first."""
    relayed = FrameWriter(server.send, asyncio.get_running_loop(), on_idle=subscriber.hand_out)

    async def relay(message: Any) -> None:
        relayed.write(message["body"])
        await asyncio.sleep(0)  # a wait for nothing in particular

    first = FrameWriter(relay, asyncio.get_running_loop(), on_idle=subscriber.hand_out)
    first.write(b"data: 1\n\n")
    assert first.is_busy
    await turns()
    first.write(b"data: 2\n\n")

    assert server.bodies == [b"data: 1\n\n", b"data: 2\n\n"]


async def test_awaitable_that_is_no_coroutine_is_driven_too(subscriber):
    """Granian's `send` returns an object of its own."""
    sent = []

    class Written:
        def __await__(self):
            return iter(())

    def send(message: Any) -> Written:
        sent.append(message["body"])
        return Written()

    subscriber.attach(
        FrameWriter(send, asyncio.get_running_loop(), on_idle=subscriber.hand_out)  # type: ignore[arg-type]
    )
    subscriber.put("job", frame(1))
    subscriber.put("job", frame(2))

    assert sent == [frame(1).body, frame(2).body]
