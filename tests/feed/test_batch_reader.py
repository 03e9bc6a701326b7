"""The progress of a batch: read once for all its streams, and only if its jobs have changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from ingestion_progress.feed import EndReason, Selection, Subscription, batch_reader
from ingestion_progress.feed.batch_reader import (
    CHECK_SECONDS,
    PAUSE_PER_SECOND,
    READ_EVERY_SECONDS,
    BatchReader,
)
from ingestion_progress.feed.visibility_reader import VisibilityReader
from ingestion_progress.feed.visible_jobs import VisibleJobs
from ingestion_progress.feed.watched_jobs import WatchedJobs
from ingestion_progress.models import Batch, Job
from ingestion_progress.wire.batches import batch_frames
from ingestion_progress.wire.frames import Message
from tests.feed.test_many_jobs import events_of, make_job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs() -> WatchedJobs:
    return WatchedJobs()


@pytest.fixture
def reader(jobs, clock):
    reader = BatchReader(jobs, clock=clock)
    yield reader
    reader.close()


@pytest.fixture
def reads(monkeypatch) -> list[set[str]]:
    """The batches of each read."""
    found: list[set[str]] = []

    def noted(of: Any, batches: set[str]) -> Any:
        found.append(set(batches))
        return batch_frames(of, batches)

    monkeypatch.setattr(batch_reader, "batch_frames", noted)
    return found


def watch(jobs: WatchedJobs, batch: str = "b", visible: VisibleJobs | None = None) -> Subscription:
    """A stream that has its first states."""
    selection = Selection.active(batch=batch)
    selection.visible = visible
    subscription = Subscription(selection, asyncio.get_running_loop())
    if visible is None:
        jobs.active.subscribers.add(subscription)
    else:
        jobs.active.by_rule.enter(subscription, visible)
        jobs.active.by_rule.start(subscription)
    return subscription


def unread(subscription: Subscription) -> list[dict[str, Any]]:
    """The data of the events that wait to be sent."""
    waiter = subscription.__anext__()
    if not waiter.done():
        waiter.cancel()
        return []
    return [data for _, _, data in events_of(waiter.result())]


async def test_many_viewers_share_one_read(jobs, reader, reads):
    await make_job("mine", batch="b")
    viewers = [watch(jobs) for _ in range(20)]
    await reader.send()
    late = watch(jobs)
    await reader.send()
    assert reads == [{"b"}]
    for viewer in (*viewers, late):
        (data,) = unread(viewer)
        assert (data["batch_id"], data["progress"]["counts"]["running"]) == ("b", 1)


async def test_only_changed_batches_are_read_again_and_not_too_often(jobs, reader, reads, clock):
    await make_job("mine", batch="b")
    viewer, other = watch(jobs), watch(jobs, "c")
    await reader.send()
    assert (len(unread(viewer)), len(unread(other))) == (1, 1)

    await Job.objects.acreate(id="new", batch="b")
    jobs.changed_batches |= {"b", "unwatched"}
    await reader.send()
    clock.now += READ_EVERY_SECONDS
    assert len(reads) == 1
    await reader.send()
    assert reads[1:] == [{"b"}]
    assert unread(viewer)[0]["progress"]["counts"]["queued"] == 1
    assert unread(other) == []

    clock.now += READ_EVERY_SECONDS
    await reader.send()
    assert len(reads) == 2


async def test_pause_after_a_slow_read_begins_at_its_end(jobs, reader, clock, monkeypatch):
    reads: list[set[str]] = []

    def slow(of: Any, batches: set[str]) -> Any:
        reads.append(set(batches))
        clock.now += 8.0
        return batch_frames(of, batches)

    monkeypatch.setattr(batch_reader, "batch_frames", slow)
    watch(jobs)
    await reader.send()
    jobs.changed_batches.add("b")
    clock.now += 8.0 * PAUSE_PER_SECOND - 0.25
    await reader.send()
    assert len(reads) == 1
    clock.now += 0.25
    await reader.send()
    assert len(reads) == 2


@pytest.mark.parametrize("kind", [BatchReader, VisibilityReader])
def test_pauses_after_failures_double_up_to_five_seconds(kind):
    backoff = kind(WatchedJobs())._backoff
    pauses = []
    for _ in range(5):
        backoff.failed(OperationalError())
        pauses.append(backoff.pause_seconds)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


async def test_unchanged_progress_is_not_sent_again(jobs, reader, reads, clock):
    viewer = watch(jobs)
    await reader.send()
    unread(viewer)
    clock.now += READ_EVERY_SECONDS
    jobs.changed_batches.add("b")
    await reader.send()
    assert len(reads) == 2
    assert unread(viewer) == []


async def test_streams_that_have_ended_are_forgotten(jobs, reader):
    viewers = [watch(jobs) for _ in range(2)]
    await reader.send()
    assert reader._sent.keys() == set(viewers)
    jobs.active.leave(viewers[0])
    await reader.send()
    assert reader._sent.keys() == {viewers[1]}


async def test_batch_that_was_not_watched_for_a_while_is_read_again(jobs, reader, reads):
    await make_job("first", batch="b")
    former = watch(jobs)
    await reader.send()
    jobs.active.leave(former)
    await reader.send()
    await make_job("second", batch="b")  # nobody notices
    viewer = watch(jobs)
    await reader.send()
    assert reads == [{"b"}] * 2
    assert unread(viewer)[0]["progress"]["jobs"] == 2


async def test_stream_that_ends_gets_no_progress_of_its_batch(jobs, reader):
    viewer = watch(jobs)
    viewer.end(Message(body=b"retry: 700\n"), EndReason.ROTATION)
    await reader.send()
    assert [body async for body in viewer] == [b"retry: 700\n"]


async def test_reader_pauses_longer_after_each_failure(jobs, monkeypatch):
    pauses, sleep = [], asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    reader = BatchReader(jobs)
    failures = iter([OperationalError()] * 3)

    async def send() -> None:
        for failure in failures:
            raise failure
        raise asyncio.CancelledError

    monkeypatch.setattr(reader, "send", send)
    monkeypatch.setattr(batch_reader.asyncio, "sleep", note)
    with pytest.raises(asyncio.CancelledError):
        await reader.run()
    assert pauses == [CHECK_SECONDS, 1.0, 2.0, 4.0]


async def test_a_failed_read_is_repeated(jobs, reader, clock, monkeypatch):
    viewer = watch(jobs)
    await reader.send()
    unread(viewer)
    await Job.objects.acreate(batch="b")
    jobs.changed_batches.add("b")
    clock.now += READ_EVERY_SECONDS

    def fail(*_: Any) -> None:
        raise OperationalError

    with monkeypatch.context() as patched:
        patched.setattr(batch_reader, "batch_frames", fail)
        with pytest.raises(OperationalError):
            await reader.send()
    await reader.send()
    assert unread(viewer)[0]["progress"]["jobs"] == 1


async def test_a_rule_counts_the_jobs_that_it_shows(jobs, reader, reads):
    for job_id, owner in (("mine", 1), ("other", 2), ("another", 2)):
        await make_job(job_id, batch="b", owner_id=owner)
    rules = [
        VisibleJobs(jobs=Job.objects.owned_by(owner), key=str(owner), ids=set(), asked_at=0.0)
        for owner in (1, 2)
    ]
    viewers = [watch(jobs, visible=rule) for rule in (*rules, rules[0])]
    await reader.send()
    assert [unread(viewer)[0]["progress"]["jobs"] for viewer in viewers] == [1, 2, 1]
    assert len(reads) == 2


@pytest.mark.parametrize("count", [1, 30])
async def test_queries_do_not_depend_on_the_number_of_batches(django_assert_num_queries, count):
    def read() -> None:
        names = [f"batch-{number}" for number in range(count)]
        Batch.objects.bulk_create(Batch(id=name) for name in names)
        Job.objects.bulk_create(Job(batch=name) for name in names for _ in range(3))
        with django_assert_num_queries(3):
            assert len(batch_frames(Job.objects.all(), names)) == count

    await sync_to_async(read)()


async def test_reader_goes_on_after_a_failure_which_it_logs_once(jobs, reader, monkeypatch, caplog):
    monkeypatch.setattr(batch_reader, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(reader._backoff, "_first_seconds", 0.0)
    monkeypatch.setattr(reader._backoff, "_last_seconds", 0.0)
    tries: list[int] = []
    has_sent = asyncio.Event()

    async def send() -> None:
        tries.append(len(tries))
        if len(tries) < 4:
            raise OperationalError
        has_sent.set()

    monkeypatch.setattr(reader, "send", send)
    running = asyncio.create_task(reader.run())
    await asyncio.wait_for(has_sent.wait(), 60)
    await asyncio.sleep(0)
    running.cancel()
    (failure,) = [each for each in caplog.records if each.message == "batch_progress_failed"]
    assert (failure.levelname, failure.exc_info[0]) == ("ERROR", OperationalError)
    assert caplog.text.count("batch_progress_recovered") == 1


async def test_closed_readers_leave_no_thread(jobs, clock):
    await make_job("mine", batch="b")
    reader = BatchReader(jobs, clock=clock)
    reader.close()
    watch(jobs)
    await reader.send()
    thread = reader._thread
    assert thread.is_alive
    reader.close()
    async with asyncio.timeout(60):
        while thread.is_alive:  # noqa: ASYNC110  (nothing says so)
            await asyncio.sleep(0)


async def test_a_batch_of_which_nothing_was_found_is_left_out(jobs, reader, monkeypatch):
    monkeypatch.setattr(batch_reader, "batch_frames", lambda jobs, batches: {})
    stream = Subscription(Selection.active(batch="b"), asyncio.get_running_loop())
    jobs.active.subscribers.add(stream)
    stream.open()
    await reader.send()
    assert not stream.__anext__().done()
