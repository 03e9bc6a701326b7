"""When the poller reads next, by the clock and without a database."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime

import pytest

from ingestion_progress.feed import Selection, Subscription, read_schedule
from ingestion_progress.feed.read_schedule import ReadSchedule
from ingestion_progress.feed.watched_job import WatchedJob
from ingestion_progress.feed.watched_jobs import WatchedJobs
from tests.feed.test_watched_job import state

NOW = datetime(2026, 1, 1, tzinfo=UTC)
THROTTLE, INTERVAL = 0.5, 2.0


@pytest.fixture(autouse=True)
def intervals(settings, monkeypatch):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = INTERVAL
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = THROTTLE
    monkeypatch.setattr(read_schedule, "SCAN_INTERVAL_SECONDS", 0.25)


@pytest.fixture
def jobs() -> WatchedJobs:
    return WatchedJobs()


@pytest.fixture
def schedule(jobs) -> ReadSchedule:
    return ReadSchedule(jobs, 10.0)


def stream(selection: Selection) -> Subscription:
    return Subscription(selection, asyncio.get_running_loop())


def watch(jobs: WatchedJobs, job_id: str, *, sent_at: float | None = None) -> WatchedJob:
    """A job with one stream; its last state was sent at that clock time."""
    job = jobs.watch(job_id)
    job.join(stream(Selection.one(job_id)), clock=0.0, now=NOW)
    if sent_at is not None:
        job.offer(state(1), sent_at)
    return job


async def test_first_tick_is_due_at_once_and_the_others_regularly(jobs, schedule):
    watch(jobs, "a")
    assert schedule.is_tick(10.0)
    assert schedule.next_at == 10.0
    schedule.ticked(10.0)

    assert [schedule.is_tick(clock) for clock in (10.0, 11.99, 12.0)] == [False, False, True]
    assert not schedule.is_scan(1e9)


async def test_loads_keep_a_pause_and_are_rare_after_a_burst(jobs, schedule):
    watch(jobs, "a")
    schedule.ticked(10.0)
    schedule.unread.add("a")
    assert schedule.is_load(10.0)
    clock, pauses = 10.0, []
    for _ in range(30):
        schedule.loaded(clock, clock + 0.001, is_tick=False)
        schedule.ticked(clock + 100)
        assert schedule.next_at == schedule._next_load_at
        pauses.append(round(schedule.next_at - clock, 3))
        clock = schedule.next_at

    assert pauses[:18] == [0.021] * 18
    assert pauses[-5:] == [0.25] * 5
    clock += 60
    schedule.loaded(clock, clock, is_tick=False)
    assert schedule.next_at == pytest.approx(clock + 0.02)  # the bucket is full again


async def test_loads_after_a_quiet_time_are_rare_after_a_burst_too(jobs, schedule):
    watch(jobs, "a")
    schedule.unread.add("a")
    clock, pauses = 3600.0, []
    for _ in range(30):
        schedule.loaded(clock, clock, is_tick=False)
        schedule.ticked(clock + 100)
        pauses.append(round(schedule.next_at - clock, 3))
        clock = schedule.next_at

    assert pauses[:18] == [0.02] * 18
    assert pauses[-5:] == [0.25] * 5


async def test_tick_takes_no_token(jobs, schedule):
    watch(jobs, "a")
    schedule.unread.add("a")
    for _ in range(100):
        schedule.loaded(10.0, 10.5, is_tick=True)

    assert not schedule.is_load(10.51)
    assert schedule.is_load(10.53)


async def test_load_is_due_only_for_unread_jobs(schedule):
    assert not schedule.is_load(1e9)


async def test_notified_job_is_read_at_once_or_after_the_throttle(jobs, schedule):
    free, paused = watch(jobs, "free"), watch(jobs, "paused", sent_at=10.0)

    assert schedule.notify(("paused",), (), 10.1) == 10.5
    assert (schedule.unread, schedule.waiting, paused.is_behind) == (set(), {"paused"}, True)
    assert schedule.notify(("free", "paused"), (), 10.1) == -math.inf
    assert (schedule.unread, free.is_behind) == ({"free"}, False)
    assert schedule.notify(("paused",), ("paused",), 10.1) == -math.inf
    assert schedule.unread == {"free", "paused"}


async def test_notification_without_names_is_about_every_watched_job(jobs, schedule):
    watch(jobs, "a", sent_at=10.0)
    watch(jobs, "b")

    assert schedule.notify((), (), 10.1) == -math.inf
    assert schedule.unread == {"a", "b"}
    assert not schedule.is_scan_due


async def test_notification_of_an_unwatched_job_matters_to_streams_of_all_jobs_only(jobs, schedule):
    watch(jobs, "a", sent_at=10.0)
    schedule.ticked(10.0)
    assert schedule.notify(("other",), (), 10.1) == math.inf
    assert not schedule.is_scan_due
    jobs.active.subscribers.add(stream(Selection.active()))
    assert schedule.notify(("a",), (), 10.1) == 10.5
    assert not schedule.is_scan_due

    assert schedule.notify(("a", "other"), (), 10.1) == -math.inf
    assert schedule.is_scan_due
    assert schedule.is_scan(10.1)
    schedule.loaded(10.1, 10.1, is_tick=False)
    assert [schedule.is_scan(clock) for clock in (10.11, 10.13)] == [False, True]


async def test_scans_for_joining_streams_keep_a_pause(jobs, schedule):
    schedule.ticked(10.0)
    jobs.active.joining.add(stream(Selection.active()))
    assert schedule.is_scan(10.0)
    schedule.joined(10.0)

    assert [schedule.is_scan(clock) for clock in (10.24, 10.25)] == [False, True]
    assert schedule.next_at == 10.25


async def test_held_back_state_is_read_when_the_throttle_allows(jobs, schedule):
    job = watch(jobs, "a", sent_at=10.0)
    schedule.ticked(10.0)
    schedule.notify(("a",), (), 10.1)
    assert schedule.next_at == 10.5
    schedule.release(10.49)
    assert (schedule.unread, schedule.waiting) == (set(), {"a"})

    schedule.release(10.5)

    assert (schedule.unread, schedule.waiting, job.is_behind) == ({"a"}, set(), False)


async def test_state_is_sent_to_a_held_subscriber_without_a_read(jobs, schedule):
    job = watch(jobs, "a", sent_at=10.0)
    late = stream(Selection.one("a"))
    job.join(late, clock=10.4, now=NOW)
    late.open()
    job.offer(state(2), 10.5)
    schedule.waiting.add("a")
    schedule.release(10.99)
    assert (late.output.frames_sent, schedule.waiting) == (1, {"a"})
    waiter = late.__anext__()

    schedule.release(11.0)

    assert b"id: e-2-" in waiter.result()
    assert (schedule.unread, schedule.waiting) == (set(), set())


async def test_job_that_nobody_watches_any_more_is_not_waited_for(jobs, schedule):
    watch(jobs, "a")
    schedule.ticked(10.0)
    schedule.waiting.add("gone")
    schedule.release(10.0)
    assert schedule.next_at == 12.0

    assert schedule.waiting == set()


async def test_tick_leaves_out_jobs_that_are_read_soon_after_it(jobs, schedule):
    soon, later = watch(jobs, "soon", sent_at=10.0), watch(jobs, "later", sent_at=12.0)
    watch(jobs, "quiet", sent_at=10.0)
    soon.is_behind = later.is_behind = True

    assert set(schedule.jobs_of_tick(10.0)) == {"later", "quiet"}  # due at 12.5, after the next
    later.published_at = 11.52
    assert set(schedule.jobs_of_tick(10.0)) == {"quiet"}
    schedule.unread.add("soon")
    assert set(schedule.jobs_of_tick(10.0)) == {"soon", "quiet"}
    jobs.active.subscribers.add(stream(Selection.active()))
    assert set(schedule.jobs_of_tick(10.0)) == {"soon", "later", "quiet"}


async def test_poller_sleeps_through_a_tick_that_would_read_nothing(jobs, schedule):
    schedule.ticked(10.0)
    job = watch(jobs, "a", sent_at=11.9)
    schedule.notify(("a",), (), 11.95)
    assert schedule.next_at == pytest.approx(12.4)
    watch(jobs, "b")
    assert schedule.next_at == 12.0
    job.is_behind = False
    jobs.by_id.pop("b")
    assert schedule.next_at == 12.0
