from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import F
from django.utils import timezone

from ingestion_progress.concurrency.worker_thread import MAX_HUNG_THREADS
from ingestion_progress.feed import (
    AlreadyCurrent,
    Feed,
    Selection,
    Subscription,
    batch_reader,
    get_feed,
    poller,
)
from ingestion_progress.feed import feed as feed_module
from ingestion_progress.models import Job, Stage
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wakeups import publish
from ingestion_progress.wire.frames import COMMENT, KEEPALIVE

pytestmark = pytest.mark.django_db(transaction=True)


class CountedReads:
    """Every call of `read_changes`, which costs one query or three: the jobs it asked for."""

    def __init__(self, monkeypatch) -> None:
        self.calls: list[int] = []
        self.before: Callable[[], None] = lambda: None
        original = poller.read_changes

        def read(known, now, scope):
            self.calls.append(len(known))
            self.before()
            return original(known, now, scope)

        monkeypatch.setattr(poller, "read_changes", read)


@pytest.fixture
def reads(monkeypatch):
    return CountedReads(monkeypatch)


async def make_job(job_id: str = "job", **fields: Any) -> Job:
    now = timezone.now()
    job = await Job.objects.acreate(
        id=job_id, **{"status": JobStatus.RUNNING, "started_at": now, "heartbeat_at": now} | fields
    )
    await Stage.objects.acreate(job=job, name="parsing", position=0, weight=1, total=10)
    return job


async def write(job_id: str = "job", **fields: Any) -> None:
    await Job.objects.filter(pk=job_id).aupdate(revision=F("revision") + 1, **fields)


async def opened(subscriber: Subscription) -> bytes:
    async with asyncio.timeout(60):
        await subscriber.ready
    return subscriber.open()


async def following(subscriber: Subscription) -> bytes:
    async with asyncio.timeout(60):
        return await anext(subscriber)


async def test_state_at_once_then_every_change_then_the_end(feed):
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    assert b'"revision"' not in (first := await opened(subscriber))
    assert re.match(rb"retry: \d+\nevent: pipeline_progress\nid: ", first)

    await write(neo4j_writes=3)
    assert b'"neo4j_writes":3' in await following(subscriber)
    await write(status=JobStatus.SUCCEEDED, finished_at=timezone.now())
    assert (await following(subscriber)).endswith(b"event: complete\ndata: {}\n\n")
    with pytest.raises(StopAsyncIteration):
        await following(subscriber)


async def test_job_deleted_while_watched_ends_its_streams(feed):
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    await Job.objects.all().adelete()

    assert b'"code":"not_found"' in await following(subscriber)
    assert subscriber.has_ended


@pytest.mark.parametrize("job_id", ["", "a/b", "nul\x00", "x" * 256, "..", " a", "line\nbreak"])
async def test_impossible_id_is_an_unknown_job_without_a_query(feed, reads, job_id):
    subscriber = feed.join(Selection.one(job_id))

    assert subscriber.ready.done()
    assert b'"code":"not_found"' in subscriber.open()
    assert not feed.subscriber_count
    assert not reads.calls


async def test_thousand_clients_of_one_job_share_one_read(feed, reads):
    await make_job()
    subscribers = [feed.join(Selection.one("job")) for _ in range(1000)]
    bodies = [await opened(subscriber) for subscriber in subscribers]

    assert reads.calls[0] == 1
    assert len({re.sub(rb"^retry: .*\n", b"", body) for body in bodies}) == 1


async def test_thousand_clients_of_many_jobs_share_one_read(feed, reads, settings):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    await Job.objects.abulk_create(Job(id=f"job-{n}") for n in range(100))
    subscribers = [feed.join(Selection.one(f"job-{n % 100}")) for n in range(1000)]
    for subscriber in subscribers:
        await opened(subscriber)

    assert reads.calls == [100]


async def test_new_job_does_not_wait_for_the_next_tick(feed, reads, settings):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    await make_job("first")
    await make_job("second")
    await opened(feed.join(Selection.one("first")))

    await opened(feed.join(Selection.one("second")))

    assert reads.calls == [1, 1]


async def test_new_stream_of_all_jobs_does_not_wait_for_the_next_tick(feed, settings):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    await make_job()
    await opened(feed.join(Selection.active()))

    assert b"event: pipeline_progress" in await opened(feed.join(Selection.active()))


async def test_impossible_and_hidden_jobs_of_a_stream_are_not_found(feed):
    await make_job()
    await make_job("hidden")
    selection = Selection.named(["job", "a/b", "hidden"])
    selection.hidden = {"hidden"}
    subscription = feed.join(selection)
    async with asyncio.timeout(60):
        await subscription.ready
        bodies = [await anext(subscription) for _ in range(3)]

    missing = [body for body in bodies if b"Job not found" in body]
    assert len(missing) == 2
    assert {name for name in ("a/b", "hidden") if any(name.encode() in body for body in missing)}
    feed.unsubscribe(subscription)


async def test_frames_and_notifications_of_all_streams_are_counted(feed, settings):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    await make_job()
    frames, wakeups = feed.counts.frames, feed.counts.wakeups["local"]
    await opened(feed.join(Selection.one("job")))
    async with asyncio.timeout(60):
        while feed.counts.wakeups["local"] == wakeups:
            publish("job")
            await asyncio.sleep(0.001)

    assert feed.counts.frames == frames + 1


async def test_late_joiner_costs_no_query(feed, reads, settings):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    await make_job()
    await opened(feed.join(Selection.one("job")))
    late = feed.join(Selection.one("job"))

    assert late.ready.done()
    assert len(reads.calls) == 1


async def test_job_whose_clients_left_is_not_read_any_more(feed, reads):
    await make_job()
    await make_job("other")
    gone, stays = feed.join(Selection.one("job")), feed.join(Selection.one("other"))
    await opened(gone)
    await opened(stays)
    feed.unsubscribe(gone)
    reads.calls.clear()
    await write("other")
    await following(stays)

    assert set(reads.calls) == {1}


async def test_last_unsubscribe_stops_tasks_and_thread(feed):
    await make_job()
    first, second = feed.join(Selection.one("job")), feed.join(Selection.one("job"))
    await opened(first)
    tasks = list(feed._tasks)
    feed.unsubscribe(first)
    feed.unsubscribe(first)
    assert not any(task.cancelling() for task in tasks)

    feed.unsubscribe(second)

    assert feed.watched_job_count == 0
    await asyncio.wait(tasks, timeout=1)
    assert all(task.cancelled() for task in tasks)
    for _ in range(50):
        if not any("progress-feed" in thread.name for thread in threading.enumerate()):
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("the feed's thread is still there")


async def test_last_unsubscribe_ends_the_threads_of_other_readers_too(feed, monkeypatch):
    def reading() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if "progress-batches" in each.name}

    monkeypatch.setattr(batch_reader, "CHECK_SECONDS", 0.01)
    await make_job(batch="b")
    before = reading()
    stream = feed.join(Selection.active(batch="b"))
    await opened(stream)
    async with asyncio.timeout(60):
        while not (threads := reading() - before):  # noqa: ASYNC110  (nothing says so)
            await asyncio.sleep(0.01)

    feed.unsubscribe(stream)

    async with asyncio.timeout(60):
        while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_feed_starts_again_after_it_stopped(feed):
    await make_job()
    for _ in range(3):
        subscriber = feed.join(Selection.one("job"))
        assert b"pipeline_progress" in await opened(subscriber)
        feed.unsubscribe(subscriber)


def test_feed_starts_again_in_another_event_loop():
    feed = Feed()

    async def visit(*, leaves: bool) -> bytes:
        subscriber = feed.join(Selection.one("job"))
        body = await opened(subscriber)
        if leaves:
            feed.unsubscribe(subscriber)
        return body

    asyncio.run(make_job())
    for leaves in (False, True, True):
        assert b"pipeline_progress" in asyncio.run(visit(leaves=leaves))
    assert feed.subscriber_count == 0


def test_streams_of_a_former_event_loop_are_forgotten():
    feed = Feed()

    async def join() -> Subscription:
        subscriber = feed.join(Selection.one("job"))
        await subscriber.ready
        return subscriber

    asyncio.run(make_job())
    former, current = asyncio.run(join()), asyncio.run(join())
    assert former != current
    assert feed._unopened.keys() == feed._subscriptions == {current}
    feed.unsubscribe(current)  # ends its thread


async def test_feed_refuses_a_second_running_loop(feed):
    await make_job()
    await opened(feed.join(Selection.one("job")))

    async def intrude() -> None:
        feed.join(Selection.one("job"))

    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, intrude())


async def test_tasks_do_not_inherit_the_context_of_the_first_request(feed, monkeypatch, settings):
    settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS = 0.02
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")
    request_id.set("first visitor")
    seen: dict[str, str] = {}
    monkeypatch.setattr(
        feed._jobs,
        "last_seen",
        lambda *args: (seen.setdefault("poller", request_id.get("")) and {}) or {},
    )
    monkeypatch.setattr(
        feed, "keep_alive", lambda clock: seen.setdefault("keepalive", request_id.get(""))
    )
    feed.join(Selection.one("job"))
    for _ in range(200):
        await asyncio.sleep(0 if len(seen) == 2 else 0.01)

    assert seen == {"poller": "", "keepalive": ""}


async def test_failing_poll_is_logged_once_and_tried_again(feed, reads, caplog):
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    failures = 0

    def fail() -> None:
        nonlocal failures
        failures += 1
        if failures <= 2:
            raise OperationalError("the database is away")

    caplog.set_level(logging.INFO, "ingestion_progress")
    reads.before = fail
    await write(neo4j_writes=7)

    assert b'"neo4j_writes":7' in await following(subscriber)
    await asyncio.sleep(0)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["feed_poll_failed", "feed_poll_recovered"]


async def test_streams_are_kept_alive_while_a_poll_hangs(feed, reads, settings):
    settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS = 0.02
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    frozen = threading.Event()
    reads.before = lambda: frozen.wait(30) and None
    await write(neo4j_writes=7)
    try:
        for _ in range(3):
            assert await following(subscriber) == KEEPALIVE
    finally:
        frozen.set()

    while (body := await following(subscriber)) == KEEPALIVE:
        pass
    assert b'"neo4j_writes":7' in body


async def test_stream_opens_without_a_state_while_the_database_hangs(feed, reads):
    frozen = threading.Event()
    reads.before = lambda: frozen.wait(30) and None
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    feed.keep_alive(feed._clock() + feed_module.PATIENCE_SECONDS + 1)

    assert (await opened(subscriber)).startswith(COMMENT)
    frozen.set()
    assert b"pipeline_progress" in await following(subscriber)


async def test_stream_that_nobody_opens_is_removed(feed, clock):
    await make_job()
    abandoned, reading = feed.join(Selection.one("job")), feed.join(Selection.one("job"))
    await opened(reading)
    counts = []
    for seconds in (30, 31):
        feed.keep_alive(clock.now + seconds)
        counts.append((feed.subscriber_count, feed.open_stream_count))

    assert counts == [(2, 1), (1, 1)]
    with pytest.raises(StopAsyncIteration):
        await anext(abandoned)


async def test_stream_waits_five_seconds_for_its_first_state(feed, clock, reads):
    reads.before = lambda: time.sleep(0.05)
    subscriber = feed.join(Selection.one("job"))
    feed.keep_alive(clock.now + 5)
    was_ready = subscriber.ready.done()
    feed.keep_alive(clock.now + 5.1)

    assert (was_ready, subscriber.ready.done()) == (False, True)


async def test_stream_ends_at_its_maximum_age_and_retries_if_it_is_cut(feed, clock, settings):
    settings.INGESTION_PROGRESS_MAX_STREAM_SECONDS = 100
    await make_job()
    subscriber = feed.join(Selection.one("job"))

    assert 90 <= subscriber.ends_at - clock.now <= 110
    assert 1000 <= int(re.match(rb"retry: (\d+)\n", await opened(subscriber))[1]) <= 5000


async def test_running_feed_rotates_its_streams(feed, clock, settings):
    settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS = 0.04
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    clock.now = subscriber.ends_at

    while (body := await following(subscriber)) == KEEPALIVE:
        pass
    assert re.fullmatch(rb"retry: \d+\n", body)


async def test_poll_lag_is_the_time_since_the_last_success(feed, clock):
    assert feed.poll_lag_seconds == 0
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    clock.now += 3
    assert feed.poll_lag_seconds == 3
    await opened(subscriber)
    assert feed.poll_lag_seconds == 0
    assert feed.counts.polls >= 1
    feed.unsubscribe(subscriber)
    clock.now += 3

    assert feed.poll_lag_seconds == 0
    assert not feed._unopened


async def test_client_that_has_the_final_state_leaves_no_subscription(feed):
    now = timezone.now()
    job = await make_job(status=JobStatus.FAILED, started_at=now, finished_at=now)
    answer = await feed.subscribe(Selection.one("job", last_event_id=job.version))

    assert isinstance(answer, AlreadyCurrent)
    assert feed.subscriber_count == 0
    subscription = await feed.subscribe(Selection.one("job"))
    assert b"event: error" in subscription.open()
    assert feed.subscriber_count == 1


async def test_client_that_leaves_before_the_first_state_leaves_no_subscription(feed, reads):
    frozen = threading.Event()
    reads.before = lambda: frozen.wait(30) and None
    subscribing = asyncio.create_task(feed.subscribe(Selection.one("job")))
    await asyncio.sleep(0)
    assert feed.subscriber_count == 1
    subscribing.cancel()
    await asyncio.gather(subscribing, return_exceptions=True)
    frozen.set()

    assert subscribing.cancelled()
    assert feed.subscriber_count == 0


async def test_feed_that_was_shut_down_serves_another_event_loop(feed):
    await make_job()
    feed._shutdown.loop = asyncio.new_event_loop()
    feed._shutdown.loop.close()

    assert b"pipeline_progress" in await opened(feed.join(Selection.one("job")))


def test_process_has_one_feed():
    assert get_feed() is get_feed()


async def test_corrupt_row_ends_its_own_stream_and_is_logged_once(feed, caplog):
    await make_job("good")
    await make_job("bad")
    good, bad = feed.join(Selection.one("good")), feed.join(Selection.one("bad"))
    await opened(good)
    await opened(bad)
    await write("bad", counters={"pages": "many"})
    assert b'"code":"stream_error"' in (body := await following(bad))
    assert b"Traceback" not in body
    assert bad.has_ended
    await write("good", neo4j_writes=1)

    assert b'"neo4j_writes":1' in await following(good)
    (record,) = [record for record in caplog.records if record.getMessage() == "sse_stream_error"]
    assert record.job_id == "bad"
    assert record.exc_info


async def test_many_changes_reach_a_client_at_the_pace_of_the_throttle(feed, settings):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 0.005
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 0.1
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    loop = asyncio.get_running_loop()
    await opened(subscriber)
    arrivals, until = [loop.time()], loop.time() + 0.55

    async def write_all_the_time() -> None:
        while loop.time() < until:
            await write(neo4j_writes=F("neo4j_writes") + 1)
        await write(neo4j_writes=1_000_000)

    writer = asyncio.create_task(write_all_the_time())
    while b'"neo4j_writes":1000000' not in await following(subscriber):
        arrivals.append(loop.time())
    await writer

    gaps = [after - before for before, after in itertools.pairwise(arrivals)]
    assert 2 <= len(gaps) <= 6  # a busy machine skips some
    assert min(gaps) > 0.08


async def test_job_that_changes_all_the_time_is_read_when_a_state_may_be_sent(
    feed, clock, reads, settings
):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    for interval in (1, 2, 3):
        for _ in range(20):
            await write(neo4j_writes=F("neo4j_writes") + 1)
            feed._poller.on_notification(("job",))
        await asyncio.sleep(0.05)  # longer than the throttle, by another clock
        assert len(reads.calls) == interval
        clock.now += 0.02

        assert b'"neo4j_writes":%d' % (20 * interval) in await following(subscriber)


async def test_notifications_within_the_throttle_do_not_wake_the_poller(
    feed, clock, reads, settings, monkeypatch
):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 90
    await make_job()
    await opened(feed.join(Selection.one("job")))
    await asyncio.sleep(0)  # the poller falls asleep
    wakes = 0
    read_what_is_due = feed._poller._read_what_is_due

    async def counted() -> None:
        nonlocal wakes
        wakes += 1
        await read_what_is_due()

    monkeypatch.setattr(feed._poller, "_read_what_is_due", counted)
    for _ in range(20):
        feed._poller.on_notification(("job",))
        await asyncio.sleep(0.001)
    assert (wakes, len(reads.calls)) == (0, 1)
    feed._poller.on_notification(("job",), ("job",))
    await asyncio.sleep(0.001)

    assert wakes == 1


async def test_notified_end_is_read_at_once_and_any_other_change_when_the_throttle_allows(
    feed, settings
):
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 60
    await write(neo4j_writes=3)
    feed._poller.on_notification(("job",))
    waiter = subscriber.__anext__()
    await asyncio.sleep(0.05)
    assert not waiter.done()

    await write(status=JobStatus.SUCCEEDED, finished_at=timezone.now())
    feed._poller.on_notification(("job",), ("job",))

    async with asyncio.timeout(60):
        assert b"event: complete" in await waiter


async def test_notified_end_is_read_at_a_tick_too(feed, settings):
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 30
    await write(status=JobStatus.SUCCEEDED, finished_at=timezone.now())
    feed._poller.on_notification(("job",))
    feed._poller.on_notification(("job",), ("job",))
    feed._poller._next_tick_at = feed._clock()

    assert b"event: complete" in await following(subscriber)


async def test_change_after_a_notification_of_a_state_that_was_read_is_sent(feed):
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    feed._poller.on_notification(("job",))
    await asyncio.sleep(0.05)
    await write(neo4j_writes=3)

    assert b'"neo4j_writes":3' in await following(subscriber)


async def test_poll_that_never_returns_is_abandoned_and_repeated(feed, reads, monkeypatch):
    monkeypatch.setattr(poller, "POLL_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(poller, "MAX_BACK_OFF_SECONDS", 0.01)
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    release = threading.Event()
    reads.before = lambda: release.wait(20)
    await asyncio.sleep(0.6)
    hung = [each for each in threading.enumerate() if each.name == "ingestion-progress-feed"]
    was_failing = feed.is_failing
    reads.before = lambda: None
    release.set()
    await write(neo4j_writes=3)

    assert b'"neo4j_writes":3' in await following(subscriber)
    assert was_failing
    assert 2 <= len(hung) <= MAX_HUNG_THREADS + 2
    assert not feed.is_failing


async def test_no_stream_is_rotated_while_the_database_is_down(feed, reads, monkeypatch):
    def fail() -> None:
        raise OperationalError

    monkeypatch.setattr(poller, "MAX_BACK_OFF_SECONDS", 0.01)
    await make_job()
    subscriber = feed.join(Selection.one("job"))
    await opened(subscriber)
    subscriber.ends_at = feed._clock()
    reads.before = fail
    async with asyncio.timeout(60):
        while not feed.is_failing:  # noqa: ASYNC110  (nothing says so)
            await asyncio.sleep(0.01)
    feed.rotate(feed._clock())
    was_sent_away = subscriber.is_ending
    reads.before = lambda: None
    await write(neo4j_writes=3)

    assert b'"neo4j_writes":3' in await following(subscriber)
    feed.rotate(feed._clock())
    assert (was_sent_away, subscriber.is_ending) == (False, True)


async def test_answer_of_a_rule_for_a_stream_that_has_left_is_dropped(feed):
    await make_job()
    stream, stays = (feed.join(Selection.named(["job"])) for _ in range(2))
    await opened(stream)
    await opened(stays)
    feed.unsubscribe(stream)
    feed.restrict(stream, frozenset(["job"]))
    assert feed.watched_job_count == 1
    feed.restrict(stays, frozenset(["job"]))
    assert feed.watched_job_count == 0
    feed.unsubscribe(stays)
