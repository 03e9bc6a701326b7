from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from ingestion_progress.feed import Feed, Selection, Subscription
from ingestion_progress.feed.job_state import JobState
from ingestion_progress.feed.watched_job import WatchedJob
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.frames import COMMENT, KEEPALIVE
from ingestion_progress.wire.snapshots import Snapshot
from tests.feed.test_feed import make_job, opened, write
from tests.support.clocks import ManualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def settings_of_the_throttle(settings):
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 0.5
    settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS = 15


def state(revision: int, status: JobStatus = JobStatus.RUNNING, *, batch: str = "") -> JobState:
    job = Job(
        id="job", epoch="e", revision=revision, status=status, started_at=NOW, heartbeat_at=NOW,
        updated_at=NOW, batch=batch, finished_at=NOW if status.is_final else None,
    )  # fmt: skip
    return JobState(Snapshot(job=job, stages=[], workers=[]), NOW, NOW)


class Reader:
    """A stream that reads at once, and remembers when it got what."""

    def __init__(self, watch: WatchedJob, clock: float, *, cursor: str = "") -> None:
        self.subscriber = Subscription(
            Selection.one(watch.job_id, last_event_id=cursor), asyncio.get_running_loop()
        )
        watch.join(self.subscriber, clock=clock, now=NOW)
        self.bodies: list[bytes] = []
        if self.subscriber.ready.done():
            self.bodies.append(self.subscriber.open())
        self.waiter = self.subscriber.__anext__()

    @property
    def revisions(self) -> list[int]:
        """Of what has arrived; reads on until there is nothing more."""
        while self.waiter.done() and not self.waiter.exception():
            self.bodies.append(self.waiter.result())
            self.waiter = self.subscriber.__anext__()
        return [int(body.split(b"id: e-")[1].split(b"-")[0]) for body in self.bodies]


@pytest.fixture
async def watch() -> WatchedJob:
    return WatchedJob("job")


async def test_leading_edge_is_sent_at_once(watch):
    reader = Reader(watch, 0.0)
    watch.offer(state(1), 0.0)

    assert reader.revisions == [1]


async def test_state_within_the_interval_is_read_again_at_its_end(watch):
    reader = Reader(watch, 0.0)
    watch.offer(state(1), 0.0)
    watch.offer(state(2), 0.1)
    assert reader.revisions == [1]
    assert watch.is_waiting
    assert [watch.is_to_be_read(clock) for clock in (0.1, 0.49, 0.5)] == [False, False, True]

    watch.offer(state(3), 0.5)

    assert reader.revisions == [1, 3]
    assert not watch.is_waiting


@pytest.mark.parametrize("status", sorted(JobStatus.final()))
async def test_final_state_never_waits(watch, status):
    reader = Reader(watch, 0.0)
    watch.offer(state(1), 0.0)
    late = Reader(watch, 0.01)
    watch.offer(state(2), 0.02)
    watch.offer(state(3, JobStatus(status)), 0.03)

    assert reader.revisions[-1] == late.revisions[-1] == 3
    assert reader.subscriber.has_ended
    assert late.subscriber.has_ended


async def test_all_subscribers_get_the_same_bytes(watch):
    readers = [Reader(watch, 0.0) for _ in range(50)]
    published = state(1)
    watch.offer(published, 0.0)

    assert all(reader.waiter.result() is published.single_frame.body for reader in readers)


async def test_late_joiner_gets_the_cached_state_at_once(watch):
    Reader(watch, 0.0)
    published = state(1)
    watch.offer(published, 0.0)

    assert Reader(watch, 0.9).bodies[0] is published.single_frame.body


async def test_late_joiners_of_a_quiet_job_share_a_fresh_frame(watch):
    Reader(watch, 0.0)
    published = state(1)
    watch.offer(published, 0.0)

    first, second = Reader(watch, 30.0), Reader(watch, 30.5)

    assert first.bodies[0] is not published.single_frame.body
    assert first.bodies[0] is second.bodies[0]
    assert first.revisions == [1]


async def test_late_joiner_gets_no_second_state_within_the_interval(watch):
    watch.offer(state(1), 0.0)
    late = Reader(watch, 0.4)
    watch.offer(state(2), 0.5)
    assert late.revisions == [1]
    watch.release(0.99)
    assert late.revisions == [1]

    watch.release(1.0)

    assert late.revisions == [1, 2]


async def test_held_subscriber_gets_the_next_state_with_the_others(watch):
    reader = Reader(watch, 0.0)
    watch.offer(state(1), 0.0)
    late = Reader(watch, 0.4)
    watch.offer(state(2), 0.5)
    assert reader.revisions == [1, 2]
    watch.offer(state(3), 0.75)
    watch.release(1.0)
    assert late.revisions == [1]

    watch.offer(state(3), 1.0)

    assert late.revisions == [1, 3]
    assert reader.revisions == [1, 2, 3]
    assert not watch.is_waiting


async def test_held_subscriber_gets_the_state_once_when_its_interval_is_over(watch):
    watch.offer(state(1), 0.0)
    late = Reader(watch, 0.4)
    watch.offer(state(2), 0.5)
    for clock in (0.9, 1.0, 1.1):
        watch.release(clock)

    assert late.revisions == [1, 2]
    assert not watch.is_waiting


async def test_client_that_resumed_with_the_current_state_waits_for_no_interval(watch):
    watch.offer(state(1), 0.0)
    resumed = Reader(watch, 0.4, cursor=state(1).version)
    watch.offer(state(2), 0.5)

    assert resumed.bodies == [COMMENT]
    assert b"id: e-2-" in resumed.waiter.result()


async def test_held_subscriber_that_disconnects_is_removed(watch):
    watch.offer(state(1), 0.0)
    late = Reader(watch, 0.4)
    watch.offer(state(2), 0.5)
    watch.leave(late.subscriber)

    assert not watch.is_waiting
    assert not watch.subscribers


async def test_silent_stream_gets_a_comment_and_a_busy_one_does_not(watch):
    reader = Reader(watch, 0.0)
    watch.offer(state(1), 10.0)
    assert reader.revisions == [1]
    watch.keep_alive(10.0, 15)
    watch.keep_alive(24.9, 15)
    assert not reader.waiter.done()

    watch.keep_alive(25.0, 15)
    assert reader.waiter.result() == KEEPALIVE

    reader.waiter = reader.subscriber.__anext__()
    watch.keep_alive(26.0, 15)
    assert not reader.waiter.done()


async def test_stream_of_a_job_that_was_never_read_is_kept_alive(watch):
    reader = Reader(watch, 0.0)
    watch.keep_alive(0.0, 15)
    watch.keep_alive(15.0, 15)

    assert reader.waiter.result() == KEEPALIVE


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("names", [None, ("job",)], ids=["all jobs", "named"])
async def test_late_stream_of_many_jobs_gets_no_second_state_within_the_interval(settings, names):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 0.01
    clock = ManualClock()
    feed = Feed(clock=clock)
    await make_job("job")
    early = feed.join(Selection.one("job"))
    await opened(early)
    clock.now += 0.4
    late = feed.join(Selection.named(names) if names else Selection.active())
    await opened(late)
    await write("job", neo4j_writes=3)
    early_waiter, late_waiter = early.__anext__(), late.__anext__()
    clock.now += 0.2

    async with asyncio.timeout(60):
        assert b'"neo4j_writes":3' in await early_waiter
    await asyncio.sleep(0.03)
    assert not late_waiter.done()
    clock.now += 0.5
    async with asyncio.timeout(60):
        assert b'"neo4j_writes":3' in await late_waiter
    for subscriber in (early, late):
        feed.unsubscribe(subscriber)


def stream(selection: Selection) -> Subscription:
    subscription = Subscription(selection, asyncio.get_running_loop())
    subscription.open()
    return subscription


async def test_counts_tell_which_frames_are_needed(watch):
    single, named = stream(Selection.one("job")), stream(Selection.named(["job", "other"]))
    seen = []
    for change in (watch.join, watch.leave):
        for subscription in (single, named):
            change(subscription, **({"clock": 0.0, "now": NOW} if change == watch.join else {}))
            seen.append((watch.has_single, watch.has_named, watch.is_wanted))
    watch.leave(single)  # twice

    assert seen == [
        (True, False, True),
        (True, True, True),
        (False, True, True),
        (False, False, False),
    ]
    assert not watch.has_single
    watch.join(single, clock=0.0, now=NOW)
    assert (watch.has_single, watch.has_named) == (True, False)


async def test_active_job_is_wanted_by_streams_of_its_batch():
    streams = {stream(Selection.active(batch="b"))}
    mine, others = (WatchedJob("job", streams) for _ in range(2))
    assert not mine.is_wanted
    mine.offer(state(1, batch="b"), 0.0)
    others.offer(state(1, batch="c"), 0.0)
    assert (mine.is_wanted, others.is_wanted) == (True, False)


async def test_active_job_is_wanted_by_streams_of_all_jobs(watch):
    everything = WatchedJob("job", {stream(Selection.active())})
    assert not everything.is_wanted
    for status, is_wanted in ((JobStatus.RUNNING, True), (JobStatus.FAILED, False)):
        for job in (everything, watch):
            job.offer(state(1, status), 0.0)
        assert (everything.is_wanted, watch.is_wanted) == (is_wanted, False)


async def test_state_goes_once_to_each_stream_that_shows_the_job():
    one, named = stream(Selection.one("job")), stream(Selection.named(["job"]))
    everything, batch, other = (stream(Selection.active(batch=batch)) for batch in ("", "b", "c"))
    job = WatchedJob("job", {everything, batch, other})
    streams = (one, named, everything, batch, other)
    for each in (one, named):
        job.join(each, clock=0.0, now=NOW)
    waiters = [each.__anext__() for each in streams]
    published = state(1, batch="b")
    job.offer(published, 0.0)

    assert waiters[0].result() is published.single_frame.body
    assert all(each.result() is published.multi_frame.body for each in waiters[1:4])
    assert not waiters[4].done()
    assert [each.output.frames_sent for each in streams] == [1, 1, 1, 1, 0]
    waiters = [each.__anext__() for each in streams[:4]]
    end = state(2, JobStatus.FAILED, batch="b")
    job.offer(end, 0.1)
    assert waiters[0].result() is end.single_frame.body
    assert waiters[1].result() is end.multi_frame.body
    assert not any(each.done() for each in waiters[2:])  # `ActiveJobs` sends them ends


async def test_first_state_of_a_job_does_not_wait_for_the_interval_of_a_stream_of_all_jobs():
    everything = stream(Selection.active())
    everything.not_before = 0.5  # it has just got the states of other jobs
    job = WatchedJob("job", {everything})
    waiter = everything.__anext__()
    job.offer(state(1), 0.0)
    assert waiter.done()


async def test_state_is_stale_after_a_second_while_the_job_is_active(watch):
    watch.join(stream(Selection.one("job")), clock=0.0, now=NOW)
    watch.offer(state(1), 10.0)
    assert [watch.is_stale(clock) for clock in (11.0, 11.01)] == [False, True]
    assert watch.needs_encoding(10.0)
    assert watch.state.multi_frame
    assert [watch.needs_encoding(clock) for clock in (11.0, 11.01)] == [False, True]
    watch.offer(state(2, JobStatus.FAILED), 20.0)

    assert not watch.is_stale(99.0)
    assert not watch.needs_encoding(99.0)


async def test_refreshed_state_is_fresh_from_then_on(watch):
    watch.offer(state(1), 10.0)
    watch.join(stream(Selection.one("job")), clock=12.0, now=NOW)

    assert watch.encoded_at == 12.0
    assert watch.published_at == 10.0


async def test_throttle_counts_from_the_last_publication(watch):
    assert not watch.is_paused(0.0)
    watch.offer(state(1), 10.0)
    assert [watch.is_paused(clock) for clock in (10.0, 10.49, 10.5)] == [True, True, False]
    watch.offer(state(2), 10.4)
    assert watch.due_at == 10.5
    watch.release(10.5)
    assert watch.is_behind  # it is to be read first
