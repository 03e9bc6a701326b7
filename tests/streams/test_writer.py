"""The writer of frames: when it sends, waits and ends."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ingestion_progress.feed import Selection, Subscription
from ingestion_progress.streams.writer import FrameWriter
from ingestion_progress.wire.frames import KEEPALIVE
from tests.support.frames import frame


class Server:
    """Acts as a server's `send`: writes at once, or waits while its client does not read."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.written: list[bytes] = []
        """The bodies that were passed to `write`."""
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


@pytest.fixture(autouse=True)
async def _loop_has_no_complaints() -> AsyncIterator[None]:
    """No callback raises, and no error of a task is left for the garbage collector to log."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    yield
    await turns()
    gc.collect()
    assert complaints == []


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def subscriber() -> Subscription:
    return Subscription(Selection.one("job"), asyncio.get_running_loop())


@pytest.fixture
async def writer(subscriber, server) -> FrameWriter:
    writer = FrameWriter(server.send, asyncio.get_running_loop(), on_idle=subscriber.flush)
    subscriber.attach(writer)
    return writer


@pytest.fixture
async def fast_writer(subscriber, server) -> FrameWriter:
    """The writer of a server that has a faster function than `send`."""
    loop = asyncio.get_running_loop()
    writer = FrameWriter(server.send, loop, on_idle=subscriber.flush, write=server.write)
    subscriber.attach(writer)
    return writer


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_frame_is_sent_in_the_step_that_publishes_it(subscriber, server, writer):
    for number in range(3):
        subscriber.put("job", frame(number))

    assert server.bodies == [frame(number).body for number in range(3)]
    assert not writer.ended.done()


async def test_unsent_frame_is_sent_first(subscriber, server):
    subscriber.put("job", frame(1))
    writer = FrameWriter(server.send, asyncio.get_running_loop(), on_idle=subscriber.flush)
    subscriber.attach(writer)
    subscriber.send_keepalive()

    assert server.bodies == [frame(1).body, KEEPALIVE]


async def test_stalled_client_gets_only_the_newest_frame_later(subscriber, server, writer):
    server.may_write.clear()
    for number in range(100):
        subscriber.put("job", frame(number))
    subscriber.send_keepalive()
    await turns()
    assert server.bodies == []

    server.may_write.set()
    await turns()

    assert server.bodies == [frame(0).body, frame(99).body]


async def test_final_frame_ends_the_stream_once_it_is_sent(subscriber, server, writer):
    server.may_write.clear()
    subscriber.put("job", frame(100, is_final=True))
    await turns()
    assert not writer.ended.done()

    server.may_write.set()

    await asyncio.wait_for(writer.ended, 5)
    assert server.bodies == [frame(100, is_final=True).body]
    assert subscriber.has_ended


async def test_error_of_send_is_raised_by_ended(subscriber, server, writer):
    server.error = OSError("the connection broke")
    subscriber.put("job", frame(1))
    subscriber.put("job", frame(2))

    with pytest.raises(OSError, match="broke"):
        await writer.ended


async def test_error_of_a_send_that_waited_is_raised_too(subscriber, server, writer):
    server.may_write.clear()
    subscriber.put("job", frame(1))
    server.error = OSError("the connection broke")
    server.may_write.set()

    with pytest.raises(OSError, match="broke"):
        await writer.ended


async def test_write_function_of_the_server_gets_all_frames(subscriber, server, fast_writer):
    subscriber.put("job", frame(1))
    subscriber.send_keepalive()
    subscriber.put("job", frame(100, is_final=True))

    assert server.written == [frame(1).body, KEEPALIVE, frame(100, is_final=True).body]
    await asyncio.wait_for(fast_writer.ended, 5)


async def test_send_waits_for_a_slow_client(subscriber, server, fast_writer):
    server.may_write.clear()
    for number in (1, 2, 3):
        subscriber.put("job", frame(number))
    await turns()
    server.may_write.set()
    await turns()
    subscriber.put("job", frame(4))

    assert server.bodies == [frame(1).body, frame(3).body, frame(4).body]
    assert server.written == [frame(3).body, frame(4).body]


async def test_cancelling_ended_cancels_the_send(subscriber, server, writer):
    server.may_write.clear()
    subscriber.put("job", frame(1))
    (sending,) = asyncio.all_tasks() - {asyncio.current_task()}
    writer.ended.cancel()
    await turns()

    assert sending.cancelled()
    subscriber.put("job", frame(2))
    server.may_write.set()
    await turns()
    assert server.bodies == []


async def test_cancelled_send_cancels_ended(subscriber, server, writer):
    """As by a server that cancels all tasks when it stops."""
    server.may_write.clear()
    subscriber.put("job", frame(1))
    (sending,) = asyncio.all_tasks() - {asyncio.current_task()}
    sending.cancel()
    await turns()

    assert writer.ended.cancelled()


@pytest.mark.parametrize("error", [None, OSError("the connection broke")])
async def test_nothing_is_sent_after_the_end_although_a_send_outlasts_it(subscriber, error):
    sent = []
    released = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message["body"])
        try:
            await released.wait()
        except asyncio.CancelledError:
            if error:
                raise error from None

    writer = FrameWriter(send, asyncio.get_running_loop(), on_idle=subscriber.flush)
    subscriber.attach(writer)
    subscriber.put("job", frame(1))
    subscriber.put("job", frame(2))
    await turns()
    writer.ended.cancel()
    await turns()
    subscriber.flush()

    assert sent == [frame(1).body]


async def test_writer_that_has_ended_is_busy_at_once(subscriber, server, writer):
    writer.close()
    assert writer.is_busy
    writer.close()
    subscriber.put("job", frame(1))

    assert server.bodies == []


async def test_writer_whose_end_is_cancelled_writes_nothing_more(subscriber, server, writer):
    writer.ended.cancel()
    await turns()
    subscriber.put("job", frame(1))

    assert server.bodies == []


async def test_nothing_is_sent_after_an_error(subscriber, server, writer):
    tries = 0

    def send(message: Any) -> None:
        nonlocal tries
        tries += 1
        raise OSError("the connection broke")

    writer = FrameWriter(send, asyncio.get_running_loop(), on_idle=subscriber.flush)  # type: ignore[arg-type]
    subscriber.attach(writer)
    subscriber.put("job", frame(1))
    subscriber.put("job", frame(2))

    assert tries == 1
    with pytest.raises(OSError, match="broke"):
        await writer.ended


async def test_error_after_the_end_is_ignored(subscriber, server, writer):
    server.error = OSError("the connection broke")
    writer.ended.cancel()
    writer.write(frame(1).body)

    assert writer.ended.cancelled()


async def test_closing_the_subscription_ends_the_writer(subscriber, server, writer):
    subscriber.close()

    assert writer.ended.result() is None


async def test_nothing_of_a_client_is_kept_after_its_frame(subscriber):
    server = Server()
    writer = FrameWriter(server.send, asyncio.get_running_loop(), on_idle=subscriber.flush)
    writer.write(b"data: 1\n\n")
    assert server.bodies == [b"data: 1\n\n"]

    left = weakref.ref(server)
    del server, writer
    gc.collect()
    assert left() is None


async def test_send_may_publish_another_frame(subscriber, server, writer):
    """An ASGI wrapper may send a second client what it sends to the first."""
    relayed = FrameWriter(server.send, asyncio.get_running_loop(), on_idle=subscriber.flush)

    async def relay(message: Any) -> None:
        relayed.write(message["body"])
        await asyncio.sleep(0)  # makes `send` wait once

    first = FrameWriter(relay, asyncio.get_running_loop(), on_idle=subscriber.flush)
    first.write(b"data: 1\n\n")
    assert first.is_busy
    await turns()
    first.write(b"data: 2\n\n")

    assert server.bodies == [b"data: 1\n\n", b"data: 2\n\n"]


async def test_send_may_return_an_awaitable_other_than_a_coroutine(subscriber):
    """Granian's `send` returns an awaitable that is not a coroutine."""
    sent = []

    class Written:
        def __await__(self):
            return iter(())

    def send(message: Any) -> Written:
        sent.append(message["body"])
        return Written()

    subscriber.attach(
        FrameWriter(send, asyncio.get_running_loop(), on_idle=subscriber.flush)  # type: ignore[arg-type]
    )
    subscriber.put("job", frame(1))
    subscriber.put("job", frame(2))

    assert sent == [frame(1).body, frame(2).body]
