from __future__ import annotations

import asyncio
import os
import re
import signal
import time

import pytest

from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.feed import EndReason, Feed, Selection, Subscription, shutdown
from ingestion_progress.feed.feed import stream_age_seconds
from ingestion_progress.feed.shutdown import Shutdown, SigtermHandler, end_temporarily
from ingestion_progress.wire.frames import COMMENT, refused_frame, retry_between
from tests.feed.test_feed import following, make_job, opened
from tests.support.clocks import ManualClock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def handled():
    """Signals that reached the handler which was there before ours."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def ignored():
    """The parent process has SIGTERM ignored, which its children inherit."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, before)


def milliseconds(parting: bytes) -> int:
    return int(re.fullmatch(rb"retry: (\d+)\n", parting)[1])


def test_maximum_ages_and_retries_are_random(settings):
    settings.INGESTION_PROGRESS_MAX_STREAM_SECONDS = 100
    ages = [stream_age_seconds() for _ in range(500)]
    returns = [milliseconds(retry_between((0.5, 5.0))) for _ in range(500)]

    assert 90 <= min(ages) < 92
    assert 108 < max(ages) <= 110
    assert 500 <= min(returns) < 800
    assert 4700 < max(returns) <= 5000


async def test_old_stream_ends_with_a_retry_and_young_ones_stay_open(feed):
    await make_job()
    old, young = feed.join(Selection.one("job")), feed.join(Selection.one("job"))
    await opened(old)
    await opened(young)
    old.ends_at, young.ends_at = 10.0, 11.0
    feed.rotate(10.0)

    assert 200 <= milliseconds(await following(old)) <= 1000
    with pytest.raises(StopAsyncIteration):
        await following(old)
    assert not young.is_ending


async def test_client_that_does_not_read_is_cancelled_after_a_while(feed):
    await make_job()
    stalled = feed.join(Selection.one("job"))
    await opened(stalled)
    stalled.reader = asyncio.create_task(asyncio.sleep(60))
    stalled.ends_at = 10.0
    feed.rotate(10.0)
    feed.rotate(10.0 + shutdown.STALLED_AFTER_SECONDS - 0.1)
    assert not stalled.reader.cancelling()

    feed.rotate(10.0 + shutdown.STALLED_AFTER_SECONDS)
    assert stalled.reader.cancelling()


async def test_client_that_does_not_read_the_closing_event_is_cancelled(feed):
    await make_job()
    stalled = feed.join(Selection.one("job"))
    await opened(stalled)
    stalled.reader = asyncio.create_task(asyncio.sleep(60))
    stalled.end(refused_frame("job", ErrorCode.TOKEN_EXPIRED), EndReason.REFUSED)
    stalled.ends_at = 10.0
    feed.rotate(9.9)
    assert not stalled.reader.cancelling()

    feed.rotate(10.0)
    assert stalled.reader.cancelling()


async def test_sigterm_waits_for_the_streams_and_reaches_the_server(handled):
    feed = Feed()
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    os.kill(os.getpid(), signal.SIGTERM)

    assert 500 <= milliseconds(await following(subscriber)) <= 5000
    assert handled == []
    feed.unsubscribe(subscriber)
    await asyncio.sleep(0.2)
    assert handled == [signal.SIGTERM]


async def test_sigterm_that_is_ignored_stays_ignored(ignored, feed):
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)

    assert not feed.is_draining
    assert not subscriber.is_ending


async def test_sigterm_does_not_wait_for_a_client_that_does_not_read(handled, monkeypatch):
    monkeypatch.setattr("ingestion_progress.feed.shutdown.DRAIN_SECONDS", 0.05)
    feed = Feed()
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    subscriber.reader = reader = asyncio.create_task(asyncio.sleep(60))
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.3)

    assert reader.cancelled()
    assert handled == [signal.SIGTERM]
    feed.unsubscribe(subscriber)


async def test_stream_that_begins_during_the_drain_ends_at_once(handled):
    feed = Feed()
    await make_job()
    feed.drain(lambda: None)
    late = feed.join(Selection.one("job"))

    assert await opened(late) == COMMENT
    assert milliseconds(await following(late)) >= 500
    assert feed.subscriber_count == 0


async def test_second_event_loop_does_not_install_the_handler_twice(handled):
    begun: list[float] = []
    handler = SigtermHandler(lambda then: (begun.append(time.monotonic()), then()))
    loop = asyncio.get_running_loop()
    handler.listen(loop)
    handler._loop = None
    handler.listen(loop)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)

    assert len(begun) == 1
    assert handled == [signal.SIGTERM]


def test_signal_reaches_the_handler_at_once_when_the_loop_does_not_run(handled):
    begun: list[object] = []
    handler = SigtermHandler(begun.append)

    async def listen() -> None:
        handler.listen(asyncio.get_running_loop())

    asyncio.run(listen())
    os.kill(os.getpid(), signal.SIGTERM)

    assert (handled, begun) == ([signal.SIGTERM], [])


async def test_handler_is_installed_in_the_main_thread_only(handled):
    before = signal.getsignal(signal.SIGTERM)
    handler = SigtermHandler(lambda then: then())
    await asyncio.to_thread(handler.listen, asyncio.get_running_loop())
    assert signal.getsignal(signal.SIGTERM) is before
    handler.listen(asyncio.get_running_loop())
    assert signal.getsignal(signal.SIGTERM) is not before


async def test_shutdown_waits_for_the_clients_and_cancels_the_last():
    clock, streams, called = ManualClock(), set(), asyncio.Event()
    ending = Shutdown(streams, clock)
    loop = asyncio.get_running_loop()
    assert ending.loop is None
    subscription = Subscription(Selection.one("job"), loop)
    subscription.reader = asyncio.create_task(asyncio.sleep(60))
    streams.add(subscription)
    ending.begin(called.set)
    assert ending.loop is loop
    assert subscription.end_reason is EndReason.SHUTDOWN
    await asyncio.sleep(0)  # the wait begins
    clock.now += 0.75
    await asyncio.sleep(0.05)
    assert not subscription.reader.cancelling()

    clock.now += 0.1

    async with asyncio.timeout(60):
        await called.wait()
    assert subscription.reader.cancelled()


@pytest.mark.parametrize(
    ("reason", "first_ms", "last_ms"),
    [(EndReason.ROTATION, 200, 1000), (EndReason.SHUTDOWN, 500, 5000)],
)
async def test_clients_reconnect_within_a_time_that_depends_on_the_reason(
    reason, first_ms, last_ms
):
    waits = []
    for _ in range(300):
        subscription = Subscription(Selection.one("job"), asyncio.get_running_loop())
        end_temporarily(subscription, reason)
        waits.append(milliseconds(await anext(subscription)))
        assert subscription.end_reason is reason

    assert first_ms <= min(waits) < first_ms * 1.5
    assert last_ms * 0.9 < max(waits) <= last_ms


def test_signal_without_a_handler_has_its_default_effect(monkeypatch):
    sent = []
    monkeypatch.setattr(shutdown.os, "kill", lambda *signalled: sent.append(signalled))
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        handler = SigtermHandler(print)

        async def listen() -> None:
            handler.listen(asyncio.get_running_loop())

        asyncio.run(listen())
        handling = signal.getsignal(signal.SIGTERM)
        assert callable(handling)
        handling(signal.SIGTERM, None)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert sent == [(os.getpid(), signal.SIGTERM)]
