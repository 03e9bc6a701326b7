"""Streams of many jobs, in one process. How their bytes travel is in
`tests/streams/test_many_jobs_servers.py`.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.db.models import F
from django.utils import timezone

from ingestion_progress import wakeups
from ingestion_progress.feed import (
    Feed,
    Selection,
    Subscription,
    active_jobs,
    poller,
)
from ingestion_progress.feed import queries as queries_module
from ingestion_progress.feed.job_state import cursor_at
from ingestion_progress.feed.selection import BEGINNING, OVERLAP
from ingestion_progress.feed.subscription import Phase
from ingestion_progress.models import Job, Stage
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.frames import COMMENT, KEEPALIVE
from tests.support.frames import is_current

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


BATCH_PROGRESS = b"event: batch_progress\n"


async def make_job(job_id: str, status: JobStatus = JobStatus.RUNNING, **fields: Any) -> Job:
    now = timezone.now()
    times = {"started_at": now - timedelta(days=2), "heartbeat_at": now}
    if status.is_final:
        times["finished_at"] = now
    job = await Job.objects.acreate(id=job_id, status=status, **(times | fields))
    await Stage.objects.acreate(job=job, name="parsing", position=0, weight=1, total=10)
    return job


async def write(job_id: str, **fields: Any) -> None:
    await Job.objects.filter(pk=job_id).aupdate(revision=F("revision") + 1, **fields)


async def finish(job_id: str, status: JobStatus = JobStatus.SUCCEEDED, **fields: Any) -> None:
    await write(job_id, status=status, **{"finished_at": timezone.now()} | fields)


def watch_all(feed: Feed, **fields: Any) -> Subscription:
    return feed.join(Selection.active(**fields))


def watch_named(feed: Feed, *names: str, **fields: Any) -> Subscription:
    return feed.join(Selection.named(names, **fields))


async def ready(subscriber: Subscription) -> Subscription:
    async with asyncio.timeout(60):
        await subscriber.ready
    if not subscriber.is_ending:
        subscriber.phase = Phase.STREAMING
    return subscriber


async def following(subscriber: Subscription) -> list[tuple[str, str, dict]]:
    """The events of the next bytes about a job: name, id, data."""
    while True:
        async with asyncio.timeout(60):
            body = await anext(subscriber)
        if body != KEEPALIVE and BATCH_PROGRESS not in body:
            return events_of(body)


def events_of(body: bytes) -> list[tuple[str, str, dict]]:
    pattern = r"event: (\S+)\n(?:id: (\S+)\n)?data: (.*)\n\n"
    return [(name, at, json.loads(data)) for name, at, data in re.findall(pattern, body.decode())]


async def jobs_of(subscriber: Subscription, count: int) -> list[str]:
    """The jobs that the next so many bytes are about."""
    return [(await following(subscriber))[0][2]["job_id"] for _ in range(count)]


async def is_silent(subscriber: Subscription, seconds: float = 0.08) -> bool:
    waiter = asyncio.ensure_future(subscriber.__anext__())
    await asyncio.wait([waiter], timeout=seconds)
    has_come = waiter.done() and BATCH_PROGRESS not in waiter.result()
    waiter.cancel()
    return not has_come


class TestAllJobs:
    async def test_active_jobs_are_sent_at_once_and_ended_ones_are_not(self, feed):
        await make_job("waits", JobStatus.QUEUED)
        await make_job("runs")
        await make_job("ended", JobStatus.FAILED)
        subscriber = await ready(watch_all(feed))

        assert set(await jobs_of(subscriber, 2)) == {"waits", "runs"}
        assert await is_silent(subscriber)

    async def test_every_data_object_names_its_job(self, feed):
        await make_job("job")
        subscriber = await ready(watch_all(feed))
        first = await following(subscriber)
        await finish("job")
        last = await following(subscriber)

        assert [name for name, _, _ in first] == ["pipeline_progress", "forecast", "job_state"]
        assert [name for name, _, _ in last] == ["pipeline_progress", "job_state", "complete"]
        assert all(data["job_id"] == "job" for _, _, data in first + last)
        assert last[-1][2] == {"job_id": "job"}

    async def test_new_job_is_sent_and_an_end_leaves_the_stream_open(self, feed):
        await make_job("first")
        subscriber = await ready(watch_all(feed))
        await following(subscriber)
        await make_job("second")
        assert await jobs_of(subscriber, 1) == ["second"]
        await finish("first", JobStatus.FAILED, error="upside down")
        failed = (await following(subscriber))[-1]
        await write("second", neo4j_writes=3)

        assert (failed[0], failed[2]["code"], failed[2]["job_id"]) == ("error", "failed", "first")
        assert (await following(subscriber))[0][2]["metrics"]["neo4j_writes"] == 3
        assert await is_silent(subscriber)  # the end is sent once

    async def test_stream_without_jobs_opens_and_waits(self, feed):
        subscriber = await ready(watch_all(feed))
        assert subscriber.open().startswith(COMMENT)
        await make_job("job")

        assert await jobs_of(subscriber, 1) == ["job"]

    async def test_job_that_began_and_ended_between_two_ticks_is_sent(self, feed):
        subscriber = await ready(watch_all(feed))
        await make_job("brief", JobStatus.SUCCEEDED)

        assert [event[0] for event in await following(subscriber)][-1] == "complete"
        assert await is_silent(subscriber)

    async def test_job_that_is_tried_again_is_active_again(self, feed):
        await make_job("job")
        subscriber = await ready(watch_all(feed))
        await following(subscriber)
        await finish("job", JobStatus.FAILED)
        await following(subscriber)
        await write("job", status=JobStatus.RUNNING, finished_at=None, epoch="again", attempt=2)

        assert (await following(subscriber))[2][2]["attempt"] == 2
        await finish("job")
        assert (await following(subscriber))[-1][0] == "complete"

    async def test_deleted_job_is_not_found_and_the_stream_stays_open(self, feed):
        await make_job("gone")
        await make_job("stays")
        subscriber = await ready(watch_all(feed))
        await jobs_of(subscriber, 2)
        await Job.objects.filter(pk="gone").adelete()
        ((name, _, data),) = await following(subscriber)
        await write("stays", neo4j_writes=1)

        assert (name, data["code"], data["job_id"]) == ("error", "not_found", "gone")
        assert await jobs_of(subscriber, 1) == ["stays"]

    async def test_end_dated_by_a_slow_clock_reaches_connected_viewers(self, feed):
        await make_job("job")
        subscriber = await ready(watch_all(feed))
        await following(subscriber)
        await finish("job", finished_at=timezone.now() - timedelta(hours=1))

        assert (await following(subscriber))[-1][0] == "complete"

    async def test_job_that_one_stream_names_is_not_sent_to_the_others(self, feed):
        await make_job("old", JobStatus.FAILED, finished_at=timezone.now() - timedelta(hours=1))
        subscriber = await ready(watch_all(feed))
        await ready(feed.join(Selection.one("old")))
        await ready(feed.join(Selection.one("nobody")))
        await ready(watch_named(feed, "old", "nobody"))

        assert await is_silent(subscriber)

    async def test_one_scan_serves_all_streams_that_wait_for_it(self, feed):
        await Job.objects.abulk_create(Job(id=f"job-{n}") for n in range(20))
        subscribers = [watch_all(feed) for _ in range(100)]
        for subscriber in subscribers:
            await ready(subscriber)
        bodies = [[await anext(subscriber) for _ in range(20)] for subscriber in subscribers]

        # The first has a `retry:` of its subscriber's before it.
        assert len({re.sub(rb"^retry: .*\n", b"", received[0]) for received in bodies}) == 1
        assert len({id(body) for received in bodies for body in received[1:]}) == 19

    async def test_notification_of_an_unknown_job_causes_a_scan(self, feed, settings):
        settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
        await make_job("known")
        subscriber = await ready(watch_all(feed))
        await following(subscriber)
        await make_job("new")
        wakeups.publish("new")

        assert await jobs_of(subscriber, 1) == ["new"]

    async def test_notification_without_names_causes_a_scan(self, feed, settings):
        settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
        subscriber = await ready(watch_all(feed))
        await make_job("new")
        feed._poller.on_notification(())

        assert await jobs_of(subscriber, 1) == ["new"]

    async def test_notification_before_the_last_stream_closes_causes_no_endless_scans(
        self, feed, settings, reads
    ):
        settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
        await make_job("single")
        await ready(feed.join(Selection.one("single")))
        everything = await ready(watch_all(feed))
        feed._poller.on_notification(("unknown",))
        feed.unsubscribe(everything)
        await asyncio.sleep(0.1)
        reads.clear()
        await asyncio.sleep(0.1)

        assert reads == []

    async def test_jobs_with_other_viewers_stay_watched_after_the_last_stream_of_all(self, feed):
        await make_job("single")
        await make_job("other")
        single, everything = (
            await ready(feed.join(Selection.one("single"))),
            await ready(watch_all(feed)),
        )
        assert feed.watched_job_count == 2
        feed.unsubscribe(everything)

        assert feed.watched_job_count == 1
        feed.unsubscribe(single)
        assert feed.watched_job_count == 0


def ended_since(last_event_id: str, now: datetime) -> datetime | None:
    return Selection.active(last_event_id=last_event_id).ended_since(now)


class TestResume:
    def test_cursor_is_a_time_with_an_overlap(self):
        moment = datetime(2026, 1, 1, 12, tzinfo=UTC)

        assert ended_since(cursor_at(moment), moment) == moment - OVERLAP
        assert ended_since("", moment) is None

    @pytest.mark.parametrize("text", ["e-5", "٣", "9" * 13, "9" * 5000, "-1", "1.5", "\x00", " "])
    def test_malformed_cursor_requests_all_ends(self, text):
        assert ended_since(text, datetime(2026, 1, 1, tzinfo=UTC)) == BEGINNING

    async def test_client_that_resumes_gets_the_end_that_it_missed(self, feed):
        await make_job("ends")
        await make_job("goes-on")
        first = await ready(watch_all(feed))
        last_id = [(await following(first))[0][1] for _ in range(2)][-1]
        feed.unsubscribe(first)
        await finish("ends")
        other_process = Feed()
        back = await ready(watch_all(other_process, last_event_id=last_id))
        ending, going = await following(back), await following(back)
        other_process.unsubscribe(back)

        assert (ending[-1][0], ending[-1][2]) == ("complete", {"job_id": "ends"})
        assert going[0][2]["job_id"] == "goes-on"

    async def test_earlier_ends_are_sent_neither_again_nor_to_other_streams(self, feed):
        now = timezone.now()
        for hours in (1, 3, 5):
            await make_job(
                f"{hours}-hours-ago", JobStatus.FAILED, finished_at=now - timedelta(hours=hours)
            )
        watching = await ready(watch_all(feed))
        after_two = watch_all(feed, last_event_id=cursor_at(now - timedelta(hours=2)))
        after_four = watch_all(feed, last_event_id=cursor_at(now - timedelta(hours=4)))
        await ready(after_two)
        await ready(after_four)

        assert await jobs_of(after_two, 1) == ["1-hours-ago"]
        assert await jobs_of(after_four, 2) == ["3-hours-ago", "1-hours-ago"]
        for subscriber in (watching, after_two, after_four):
            assert await is_silent(subscriber)

    async def test_client_that_is_cut_among_ends_resumes_at_the_one_it_has(self, feed):
        now = timezone.now()
        for minutes in (90, 60, 30):
            ended_at = now - timedelta(minutes=minutes)
            await make_job(f"{minutes}", JobStatus.SUCCEEDED, finished_at=ended_at)
        await make_job("active")
        since = cursor_at(now - timedelta(hours=2))
        cut = await ready(watch_all(feed, last_event_id=since))
        first = await following(cut)
        feed.unsubscribe(cut)
        back = await ready(watch_all(feed, last_event_id=first[0][1]))

        assert first[0][2]["job_id"] == "90"
        assert await jobs_of(back, 4) == ["90", "60", "30", "active"]  # one again, none missing

    async def test_no_other_frame_overtakes_an_unsent_end(self, feed):
        await make_job("ends")
        await make_job("goes-on")
        slow = await ready(watch_all(feed))
        await finish("ends")
        await write("goes-on", neo4j_writes=1)
        quick = await ready(watch_all(feed))
        while (await following(quick))[0][2]["metrics"]["neo4j_writes"] != 1:
            pass

        assert await jobs_of(slow, 2) == ["ends", "goes-on"]

    async def test_end_is_sent_before_a_state_that_was_read_with_it(self, feed, settings):
        settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
        for job_id in ("a-goes-on", "ends", "z-goes-on"):
            await make_job(job_id)
        waiting = await ready(watch_all(feed))
        await jobs_of(waiting, 3)
        waiter = asyncio.ensure_future(following(waiting))
        await asyncio.sleep(0)
        await write("a-goes-on", neo4j_writes=1)
        await write("z-goes-on", neo4j_writes=1)
        await finish("ends")
        feed._poller.on_notification(())

        assert (await waiter)[-1][2] == {"job_id": "ends"}
        assert set(await jobs_of(waiting, 2)) == {"a-goes-on", "z-goes-on"}

    async def test_number_of_ends_is_limited_to_the_newest(self, feed, monkeypatch):
        monkeypatch.setattr(queries_module, "MAX_ENDED", 3)
        now = timezone.now()
        for hours in range(1, 6):
            ended_at = now - timedelta(hours=hours)
            await make_job(f"{hours}", JobStatus.SUCCEEDED, finished_at=ended_at)
        subscriber = await ready(watch_all(feed, last_event_id="nonsense"))

        assert await jobs_of(subscriber, 3) == ["3", "2", "1"]
        assert await is_silent(subscriber)

    async def test_cursors_of_a_quiet_job_advance(self, feed):
        await make_job("quiet")
        first = await ready(watch_all(feed))
        early = int((await following(first))[0][1])
        feed._jobs.by_id["quiet"].encoded_at -= 10
        late = int((await following(await ready(watch_all(feed))))[0][1])

        assert late > early


class TestNamedJobs:
    @pytest.mark.parametrize("first", ["runs", "nobody", "a/b"])
    async def test_named_jobs_are_sent_with_any_status(self, feed, first):
        await make_job("runs")
        await make_job("ended", JobStatus.FAILED, error="upside down")
        await make_job("unasked")
        names = {first: None} | dict.fromkeys(["runs", "ended", "nobody", "a/b"])
        subscriber = await ready(watch_named(feed, *names))
        seen = [await following(subscriber) for _ in range(4)]
        last = {events[-1][2]["job_id"]: events[-1] for events in seen}

        assert last["ended"][2]["code"] == "failed"
        assert last["nobody"][2]["code"] == last["a/b"][2]["code"] == "not_found"
        assert last["runs"][0] == "job_state"
        assert await is_silent(subscriber)

    async def test_named_job_that_is_created_later_is_sent(self, feed):
        await make_job("known")
        subscriber = await ready(watch_named(feed, "known", "later"))
        await jobs_of(subscriber, 2)
        await make_job("later")

        assert (await following(subscriber))[0][2]["job_id"] == "later"

    async def test_ended_job_is_sent_again_when_it_is_retried(self, feed):
        await make_job("job", JobStatus.FAILED)
        subscriber = await ready(watch_named(feed, "job"))
        await following(subscriber)
        await write("job", status=JobStatus.RUNNING, finished_at=None, epoch="again", attempt=2)

        assert (await following(subscriber))[2][2]["attempt"] == 2

    async def test_late_viewer_of_a_watched_job_waits_for_no_query(self, feed, settings, reads):
        settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
        await make_job("job")
        await ready(feed.join(Selection.one("job")))
        late = watch_named(feed, "job")

        assert late.ready.done()
        assert await jobs_of(late, 1) == ["job"]
        assert len(reads) == 1

    async def test_states_keep_the_distance_of_the_throttle_per_job(self, feed, settings):
        settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 0.3
        await make_job("a")
        await make_job("b")
        subscriber = await ready(watch_named(feed, "a", "b"))
        await jobs_of(subscriber, 2)
        for count in (1, 2):
            await write("a", neo4j_writes=count)
            await asyncio.sleep(0.03)
        assert await is_silent(subscriber, 0.05)
        (progress, *_) = await following(subscriber)
        await finish("b")

        assert progress[2]["metrics"]["neo4j_writes"] == 2
        assert (await following(subscriber))[-1][0] == "complete"


class TestUntilIdle:
    async def test_stream_of_all_ends_with_the_last_active_job(self, feed):
        await make_job("one")
        await make_job("two")
        subscriber = await ready(watch_all(feed, is_until_idle=True))
        endless = await ready(watch_all(feed))
        await jobs_of(subscriber, 2)
        await finish("one")
        await finish("two")
        seen = [await following(subscriber) for _ in range(3)]

        assert [events[-1][0] for events in seen] == ["complete", "complete", "idle"]
        assert seen[-1][0][2] == {}
        with pytest.raises(StopAsyncIteration):
            await following(subscriber)
        assert subscriber.has_ended
        assert not endless.is_ending

    async def test_stream_without_an_active_job_ends_at_once(self, feed):
        subscriber = await ready(watch_all(feed, is_until_idle=True))

        assert not is_current(subscriber)
        assert (await following(subscriber))[0][0] == "idle"

    async def test_client_with_the_idle_cursor_gets_already_current(self, feed):
        ended_at = timezone.now() - timedelta(minutes=5)
        await make_job("old", JobStatus.SUCCEEDED, finished_at=ended_at)
        idle_id = cursor_at(timezone.now())
        back = await ready(watch_all(feed, is_until_idle=True, last_event_id=idle_id))

        assert is_current(back)

    async def test_stream_of_named_jobs_ends_with_them(self, feed):
        await make_job("named")
        await make_job("other")
        subscriber = await ready(watch_named(feed, "named", "nobody", is_until_idle=True))
        await jobs_of(subscriber, 2)
        await finish("named")

        assert (await following(subscriber))[-1][0] == "complete"
        ((name, idle_id, data),) = await following(subscriber)
        assert (name, data) == ("idle", {})
        again = watch_named(feed, "nobody", "named", is_until_idle=True, last_event_id=idle_id)
        assert is_current(await ready(again))
        await write("named", status=JobStatus.RUNNING, finished_at=None, epoch="again")
        async with asyncio.timeout(60):  # until a tick has read it
            while is_current(await ready(again)):
                await asyncio.sleep(0.01)
                again = watch_named(
                    feed, "nobody", "named", is_until_idle=True, last_event_id=idle_id
                )


class TestCorruptRows:
    async def break_row(self, job_id: str) -> None:
        await write(job_id, counters={"pages": "many"})

    async def test_corrupt_row_is_an_error_for_its_job_and_the_stream_stays_open(
        self, feed, caplog
    ):
        await make_job("good")
        await make_job("bad")
        everything = await ready(watch_all(feed))
        named = await ready(watch_named(feed, "good", "bad"))
        await jobs_of(everything, 2)
        await jobs_of(named, 2)
        await self.break_row("bad")
        for subscriber in (everything, named):
            ((name, _, data),) = await following(subscriber)
            assert (name, data["code"], data["job_id"]) == ("error", "stream_error", "bad")
        await write("good", neo4j_writes=1)

        assert await jobs_of(everything, 1) == await jobs_of(named, 1) == ["good"]
        assert await is_silent(everything)
        logged = [record for record in caplog.records if record.msg == "sse_stream_error"]
        assert len(logged) == 1

    async def test_new_stream_gets_the_error_of_a_corrupt_row_too(self, feed):
        await make_job("bad", counters={"pages": "many"})
        await make_job("good")
        await ready(watch_all(feed))
        late = await ready(watch_all(feed))

        assert await jobs_of(late, 2) == ["bad", "good"]

    async def test_job_is_sent_again_after_its_row_is_repaired(self, feed, monkeypatch):
        monkeypatch.setattr(active_jobs, "BROKEN_FOR_SECONDS", 0.05)
        await make_job("bad", counters={"pages": "many"})
        subscriber = await ready(watch_all(feed))
        assert (await following(subscriber))[0][2]["code"] == "stream_error"
        await write("bad", counters={})

        assert (await following(subscriber))[0][0] == "pipeline_progress"


class TestMailbox:
    async def test_silent_stream_is_kept_alive_and_a_busy_one_needs_no_comment(self, feed):
        await make_job("job")
        subscriber = await ready(watch_all(feed))
        await following(subscriber)
        waiter = subscriber.__anext__()
        feed.keep_alive(1000.0)
        feed.keep_alive(1059.0)
        assert not waiter.done()
        feed.keep_alive(1060.0)
        assert waiter.result() == KEEPALIVE

        await write("job", neo4j_writes=1)
        await following(subscriber)
        waiter = subscriber.__anext__()
        feed.keep_alive(1119.0)
        feed.keep_alive(1121.0)
        assert not waiter.done()

    async def test_newer_state_replaces_an_unsent_one_of_its_job_only(self, feed):
        await make_job("a")
        await make_job("b")
        slow, quick = await ready(watch_all(feed)), await ready(watch_all(feed))
        await jobs_of(quick, 2)
        await write("a", neo4j_writes=5)
        await following(quick)
        seen = {data[0][2]["job_id"]: data[0][2] for data in [await following(slow) for _ in "ab"]}

        assert seen["a"]["metrics"]["neo4j_writes"] == 5
        assert "b" in seen
        assert feed.counts.conflated == 1
        assert feed.counts.frames == 5

    async def test_rotated_stream_sends_its_closing_message_and_nothing_else(self, feed):
        await make_job("job")
        subscriber = await ready(watch_all(feed))
        feed.drain(lambda: None)
        await finish("job")

        assert (await anext(subscriber)).startswith(b"retry: ")
        with pytest.raises(StopAsyncIteration):
            await anext(subscriber)
        late = watch_all(feed)
        assert late.ready.done()
        assert late.is_ending

    async def test_old_stream_is_rotated(self, feed):
        subscriber = await ready(watch_all(feed))
        assert subscriber.ends_at < float("inf")
        feed.rotate(subscriber.ends_at)

        assert (await anext(subscriber)).startswith(b"retry: ")


@pytest.fixture
def reads(monkeypatch):
    """How many jobs each call of `read_changes` named."""
    calls: list[int] = []
    original = poller.read_changes

    def read(known, now, scope):
        calls.append(len(known))
        return original(known, now, scope)

    monkeypatch.setattr(poller, "read_changes", read)
    return calls


@pytest.fixture
def queries(monkeypatch):
    """The number of queries of each poll."""
    counts: list[int] = []
    original = poller.read_changes

    def read(known, now, scope):
        connection.force_debug_cursor = True
        before = len(connection.queries_log)
        try:
            return original(known, now, scope)
        finally:
            counts.append(len(connection.queries_log) - before)

    monkeypatch.setattr(poller, "read_changes", read)
    return counts


@pytest.mark.parametrize("count", [1, 50, 2000])
async def test_tick_takes_at_most_three_queries_for_any_selection(feed, queries, count):
    await Job.objects.abulk_create(Job(id=f"job-{n}") for n in range(count))
    names = [f"job-{n}" for n in range(min(count, 200))]
    last_event_ids = ("", "nonsense", cursor_at(timezone.now()))
    subscribers = [watch_all(feed, last_event_id=at) for at in last_event_ids]
    subscribers += [watch_named(feed, *names), feed.join(Selection.one("job-0"))]
    async with asyncio.timeout(20):
        for subscriber in subscribers:
            await subscriber.ready
    await Job.objects.all().aupdate(revision=F("revision") + 1, queue_depth=7)
    while (await following(subscribers[0]))[0][2]["worker_pool"]["queue_depth"] != 7:
        pass
    quiet_from = len(queries)
    while len(queries) < quiet_from + 3:  # noqa: ASYNC110  (polls tell nobody)
        await asyncio.sleep(0.01)

    limit = await sync_to_async(lambda: connection.features.max_query_params)() or count
    assert max(queries) == 1 + 2 * math.ceil(count / limit)
    assert queries[-1] == 1


class TestBatch:
    async def test_only_jobs_of_the_batch_are_sent_later_ones_included(self, feed):
        await make_job("mine", batch="b")
        await make_job("other", batch="c")
        await make_job("alone")
        subscriber = await ready(watch_all(feed, batch="b"))
        assert await jobs_of(subscriber, 1) == ["mine"]

        for job_id in ("other", "alone"):
            await write(job_id, neo4j_writes=1)
            await finish(job_id)
        await make_job("later", batch="b")

        assert await jobs_of(subscriber, 1) == ["later"]
        await finish("mine")
        assert [name for name, _, _ in await following(subscriber)] == [
            "pipeline_progress",
            "job_state",
            "complete",
        ]
        assert await is_silent(subscriber)

    async def test_batch_and_stream_of_all_jobs_can_be_open_together(self, feed):
        await make_job("mine", batch="b")
        await make_job("other", batch="c")
        everything = await ready(watch_all(feed))
        batch = await ready(watch_all(feed, batch="c"))

        assert sorted(await jobs_of(everything, 2)) == ["mine", "other"]
        assert await jobs_of(batch, 1) == ["other"]

    async def test_deletion_is_sent_to_the_batch_of_the_job_only(self, feed):
        await make_job("mine", batch="b")
        await make_job("other", batch="c")
        mine = await ready(watch_all(feed, batch="b"))
        others = await ready(watch_all(feed, batch="c"))
        await jobs_of(mine, 1)
        await jobs_of(others, 1)
        await Job.objects.filter(pk="mine").adelete()

        assert (await following(mine))[0][2]["code"] == "not_found"
        assert await is_silent(others)

    async def test_batch_is_idle_when_its_jobs_have_ended(self, feed):
        await make_job("mine", batch="b")
        await make_job("other", batch="c")
        subscriber = await ready(watch_all(feed, batch="b", is_until_idle=True))
        await jobs_of(subscriber, 1)
        await finish("mine")

        names = [name for name, _, _ in await following(subscriber)]
        assert names[-1] == "complete"
        assert (await following(subscriber))[0][0] == "idle"
        assert subscriber.has_ended

    async def test_progress_of_the_batch_follows_the_first_states_and_each_change(self, feed):
        await make_job("mine", batch="b")
        await make_job("done", JobStatus.SUCCEEDED, batch="b")
        subscriber = await ready(watch_all(feed, batch="b"))

        async def following_counts() -> dict[str, int]:
            while True:
                async with asyncio.timeout(60):
                    body = await anext(subscriber)
                for name, at, data in events_of(body):
                    if name == "batch_progress":
                        assert (at, data["batch_id"]) == ("", "b")
                        assert ("forecast" in data["progress"]) is True
                        return {key: n for key, n in data["progress"]["counts"].items() if n}

        assert await following_counts() == {"running": 1, "succeeded": 1}
        await finish("mine", JobStatus.FAILED)
        assert await following_counts() == {"failed": 1, "succeeded": 1}

    async def test_resuming_batch_gets_only_the_ends_of_its_jobs(self, feed):
        await make_job("mine", JobStatus.SUCCEEDED, batch="b")
        await make_job("other", JobStatus.SUCCEEDED, batch="c")
        subscriber = await ready(watch_all(feed, batch="b", last_event_id="1"))

        assert await jobs_of(subscriber, 1) == ["mine"]
        assert await is_silent(subscriber)
