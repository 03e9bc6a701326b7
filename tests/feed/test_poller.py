"""When the feed reads the database, what it reads again after a failure, and when it stops."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from ingestion_progress import wakeups
from ingestion_progress.feed import Feed, Selection, poller, read_schedule
from ingestion_progress.feed.job_state import cursor_at
from ingestion_progress.models.statuses import JobStatus
from tests.feed.test_feed import CountedReads, following, make_job, opened, write

pytestmark = pytest.mark.django_db(transaction=True)

THROTTLE_SECONDS = 0.05


@pytest.fixture(autouse=True)
def rare_ticks(settings, monkeypatch):
    """What a test waits for has to come without the next tick."""
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = THROTTLE_SECONDS
    settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS = 60
    monkeypatch.setattr(poller, "MAX_BACK_OFF_SECONDS", 0.01)


@pytest.fixture
def fail_next(monkeypatch):
    """Lets the next reads fail, as many as are asked for."""
    reads = CountedReads(monkeypatch)
    remaining = 0

    def fail() -> None:
        nonlocal remaining
        if remaining:
            remaining -= 1
            raise OperationalError("the database is down")

    def set_remaining(count: int) -> None:
        nonlocal remaining
        remaining = count

    reads.before = fail
    return set_remaining


def test_feed_that_nobody_watches_is_not_failing():
    assert not Feed().is_failing
    assert Feed().poll_lag_seconds == 0


async def test_new_job_is_read_again_right_after_a_failed_read(feed, fail_next):
    await make_job("first")
    await make_job("second")
    await opened(feed.join(Selection.one("first")))
    fail_next(1)

    assert b"event: pipeline_progress" in await opened(feed.join(Selection.one("second")))
    assert feed.counts.poll_failures == 1


async def test_notified_job_is_read_right_after_a_failed_read(feed, fail_next):
    await make_job("first")
    subscriber = feed.join(Selection.active())
    await opened(subscriber)
    await make_job("second")
    fail_next(1)
    wakeups.publish("second")

    assert b'"job_id":"second"' in await following(subscriber)
    assert feed.counts.poll_failures == 1


async def test_poller_survives_a_long_failure_with_bounded_pauses(feed, fail_next, monkeypatch):
    monkeypatch.setattr(poller, "MAX_BACK_OFF_SECONDS", 0.0)
    await make_job()
    fail_next(1100)  # 2 ** 1100 is too large for a float

    assert b"event: pipeline_progress" in await opened(feed.join(Selection.one("job")))
    assert feed.counts.poll_failures == 1100


async def test_state_that_another_viewer_makes_the_feed_skip_is_sent_after_the_throttle(
    feed, clock
):
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    await write(neo4j_writes=3)
    polls = feed.counts.polls
    newcomer = feed.join(Selection.active())
    await opened(newcomer)
    assert feed.counts.polls == polls + 1
    waiter = subscriber.__anext__()
    assert not waiter.done()

    clock.now += THROTTLE_SECONDS + 0.01

    async with asyncio.timeout(60):
        assert b'"neo4j_writes":3' in await waiter


async def test_end_that_nobody_notifies_of_waits_for_a_tick_and_not_for_the_throttle(
    feed, settings
):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 0.01
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 60
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    polls = feed.counts.polls
    await write(neo4j_writes=3)  # is read at a tick, and held back
    async with asyncio.timeout(60):
        while feed.counts.polls < polls + 3:  # noqa: ASYNC110  (the reads are in a thread)
            await asyncio.sleep(0.01)
    await write(status=JobStatus.SUCCEEDED, finished_at=timezone.now())

    assert b"event: complete" in await following(subscriber)


async def test_streams_of_all_jobs_that_open_soon_after_another_share_a_read(
    feed, clock, monkeypatch
):
    monkeypatch.setattr(read_schedule, "SCAN_INTERVAL_SECONDS", 0.25)
    await make_job()
    await opened(feed.join(Selection.active()))
    polls = feed.counts.polls
    second = feed.join(Selection.active())
    await asyncio.sleep(0.02)
    assert not second.ready.done()
    clock.now += 0.25
    third = feed.join(Selection.active())
    for stream in (second, third):
        assert b"event: pipeline_progress" in await opened(stream)
    assert feed.counts.polls == polls + 1


async def test_reads_of_a_busy_job_do_not_postpone_the_tick_of_the_others(feed, clock):
    await make_job("busy")
    await make_job("quiet")
    busy, quiet = (feed.join(Selection.one(job_id)) for job_id in ("busy", "quiet"))
    await opened(busy)
    await opened(quiet)
    await write("quiet", neo4j_writes=3)  # without a notification
    for _ in range(4):
        polls = feed.counts.polls
        clock.now += 20  # a tick is due after 60
        wakeups.publish("busy")
        async with asyncio.timeout(60):
            while feed.counts.polls == polls:  # noqa: ASYNC110  (the read is in a thread)
                await asyncio.sleep(0.01)

    assert b'"neo4j_writes":3' in await following(quiet)


async def test_notification_of_a_state_that_was_read_causes_one_read(feed, clock):
    await make_job()
    await opened(feed.join(Selection.one("job")))
    polls = feed.counts.polls
    wakeups.publish("job")
    for _ in range(5):
        await asyncio.sleep(0.02)
        clock.now += THROTTLE_SECONDS

    assert feed.counts.polls == polls + 1


async def test_viewer_who_joins_while_frames_are_refreshed_gets_the_state(feed, monkeypatch):
    await make_job()
    first = feed.join(Selection.one("job"))
    await opened(first)
    loop, late = asyncio.get_running_loop(), []

    async def replace_the_viewer() -> None:
        feed.unsubscribe(first)
        late.append(feed.join(Selection.one("job")))

    original = poller.refreshed

    def refreshed(*args):
        if not late:
            asyncio.run_coroutine_threadsafe(replace_the_viewer(), loop).result(5)
        return original(*args)

    monkeypatch.setattr(poller, "refreshed", refreshed)
    newcomer = feed.join(Selection.active())
    await opened(newcomer)

    assert b"event: pipeline_progress" in await opened(late[0])


async def test_pauses_between_failed_reads_double_up_to_a_limit(feed, monkeypatch, settings):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 0.001
    monkeypatch.setattr(poller, "MAX_BACK_OFF_SECONDS", 0.006)
    reads, pauses = CountedReads(monkeypatch), []

    def fail_five_times() -> None:
        pauses.append(feed._poller._backoff.pause_seconds)
        if len(pauses) <= 5:
            raise OperationalError("the database is down")

    reads.before = fail_five_times
    await make_job()
    await opened(feed.join(Selection.one("job")))

    assert pauses[:6] == [0, 0.002, 0.004, 0.006, 0.006, 0.006]
    assert not feed.is_failing


async def test_read_of_every_watched_job_postpones_the_tick(feed, clock):
    await make_job()
    await opened(feed.join(Selection.one("job")))
    clock.now += 40  # a tick is due after 60
    wakeups.publish("job")
    async with asyncio.timeout(60):
        while feed.counts.polls < 2:  # noqa: ASYNC110  (the read is in a thread)
            await asyncio.sleep(0.01)
    clock.now += 40
    feed._poller.scan_soon()  # wakes the poller
    await asyncio.sleep(0.05)

    assert feed.counts.polls == 2


async def test_cursor_of_a_new_stream_is_the_time_at_which_its_scan_began(feed, clock, monkeypatch):
    await make_job()
    await opened(feed.join(Selection.one("job")))
    clock.now += 10  # the state of the first stream is stale
    began_at = timezone.now()
    times = iter([began_at, began_at + timedelta(seconds=5)])
    monkeypatch.setattr(poller, "database_now", lambda: next(times, timezone.now()))
    body = await opened(feed.join(Selection.active()))

    assert b"\nid: %s\n" % cursor_at(began_at).encode() in body


async def test_times_of_all_polls_add_up(feed, clock, monkeypatch):
    seconds = 0.01

    def take_some_time() -> None:
        clock.now += seconds

    CountedReads(monkeypatch).before = take_some_time
    await make_job("first")
    await opened(feed.join(Selection.one("first")))
    await opened(feed.join(Selection.active()))

    assert feed.counts.polls >= 2
    assert feed.counts.poll_seconds == pytest.approx(seconds * feed.counts.polls)
