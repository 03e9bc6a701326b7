"""Which ends reach the streams of all jobs, and who counts as one of them."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from ingestion_progress import wakeups
from ingestion_progress.feed import EndReason, Selection, Subscription, poller
from ingestion_progress.feed.active_jobs import ActiveJobs
from ingestion_progress.feed.job_state import JobState, NoState, cursor_at
from ingestion_progress.feed.selection import OVERLAP
from ingestion_progress.feed.visible_jobs import VisibleJobs
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.frames import missing_frame
from ingestion_progress.wire.snapshots import Snapshot
from tests.feed.test_feed import CountedReads
from tests.feed.test_many_jobs import (
    finish,
    following,
    is_silent,
    make_job,
    ready,
    watch_all,
    write,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


async def restart(job_id: str) -> None:
    await write(job_id, status=JobStatus.RUNNING, finished_at=None, epoch="again", attempt=2)


async def test_end_of_a_retry_that_no_read_saw_running_is_sent(feed):
    await make_job("job")
    subscriber = await ready(watch_all(feed))
    await following(subscriber)
    await finish("job", JobStatus.FAILED)
    assert (await following(subscriber))[-1][0] == "error"
    await finish("job", epoch="again", attempt=2)  # started and ended between two reads

    assert (await following(subscriber))[-1][0] == "complete"
    assert await is_silent(subscriber)


async def test_job_that_began_and_ended_during_an_outage_is_sent(feed, monkeypatch):
    down_since = timezone.now() - 10 * OVERLAP
    monkeypatch.setattr(poller, "database_now", lambda: down_since)
    subscriber = await ready(watch_all(feed))
    reads = CountedReads(monkeypatch)

    def fail() -> None:
        raise OperationalError("the database is down")

    reads.before = fail
    async with asyncio.timeout(60):
        while not feed.is_failing:  # noqa: ASYNC110  (the read is in a thread)
            await asyncio.sleep(0.01)
    await make_job("job", JobStatus.SUCCEEDED, finished_at=down_since + 5 * OVERLAP)
    monkeypatch.setattr(poller, "database_now", timezone.now)
    reads.before = lambda: None

    assert (await following(subscriber))[-1][0] == "complete"


async def test_client_that_resumes_gets_no_earlier_end_of_a_job_that_runs_again(feed):
    await make_job("job")
    subscriber = await ready(watch_all(feed))
    last_event_id = (await following(subscriber))[0][1]
    await finish("job", JobStatus.FAILED)
    await following(subscriber)
    await restart("job")
    await following(subscriber)
    resumed = await ready(watch_all(feed, last_event_id=last_event_id))
    events = await following(resumed)

    assert [name for name, _, _ in events] == ["pipeline_progress", "forecast", "job_state"]
    assert events[2][2]["attempt"] == 2
    assert await is_silent(resumed)


async def test_viewer_who_disconnects_during_the_first_read_is_removed(feed, settings, monkeypatch):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 60
    for job_id in ("first", "second", "third", "unwatched"):
        await make_job(job_id)
    await ready(feed.join(Selection.one("first")))
    loop, leaving = asyncio.get_running_loop(), []
    reads = CountedReads(monkeypatch)

    async def leave() -> None:
        feed.unsubscribe(leaving.pop())

    def leave_once() -> None:
        if leaving:
            asyncio.run_coroutine_threadsafe(leave(), loop).result(5)

    reads.before = leave_once
    leaving.append(watch_all(feed))
    async with asyncio.timeout(60):
        while leaving:  # noqa: ASYNC110  (the read is in a thread)
            await asyncio.sleep(0.01)
    await ready(feed.join(Selection.one("second")))  # the read after that one
    wakeups.publish("unwatched")
    await ready(feed.join(Selection.one("third")))

    assert feed.watched_job_count == 3


NOW = datetime(2026, 1, 1, tzinfo=UTC)
GONE = NoState(missing_frame("gone"))


def joining(active: ActiveJobs, last_event_id: str = "", *, batch: str = "") -> Subscription:
    selection = Selection.active(last_event_id=last_event_id, batch=batch)
    stream = Subscription(selection, asyncio.get_running_loop())
    active.joining.add(stream)
    return stream


def ended(job_id: str, at: datetime) -> JobState:
    job = Job(id=job_id, epoch="e", status=JobStatus.FAILED, updated_at=at, finished_at=at)
    return JobState(Snapshot(job=job, stages=[], workers=[]), NOW, NOW)


def sent(stream: Subscription) -> list[bytes]:
    """The jobs of the frames that are ready."""
    found: list[bytes] = []
    while (waiter := stream.__anext__()).done():
        found += re.findall(rb'"job_id":"[^"]*"', waiter.result())[:1]
    waiter.cancel()
    return found


class TestScans:
    """Of `ActiveJobs` alone, by the clock and without a database."""

    @pytest.fixture
    def active(self) -> ActiveJobs:
        return ActiveJobs()

    @pytest.fixture
    async def watching(self, active) -> Subscription:
        """A stream that has its first states."""
        stream = joining(active)
        active.complete(active.scan(NOW, 0.0), {}, not_before=0.5)
        stream.open()
        return stream

    async def test_streams_that_join_all_the_time_do_not_keep_new_jobs_from_others(self, active):
        visible = VisibleJobs(jobs=Job.objects.all(), key="", ids=set(), asked_at=0.0)
        stream = Subscription(Selection.active(), asyncio.get_running_loop())
        active.by_rule.enter(stream, visible)
        active.by_rule.start(stream)
        scan = active.scan(NOW, 0.0)
        joining(active)
        active.complete(scan, {"new": ended("new", NOW)}, not_before=0.5)
        assert active.by_rule.query().job_ids == ["new"]

    async def test_stream_does_not_end_as_idle_before_its_rule_has_decided_about_new_jobs(
        self, active
    ):
        visible = VisibleJobs(jobs=Job.objects.all(), key="", ids=set(), asked_at=0.0)
        stream = Subscription(Selection.active(is_until_idle=True), asyncio.get_running_loop())
        stream.open()
        active.by_rule.enter(stream, visible)
        active.by_rule.start(stream)
        found = {"new": ended("new", NOW)}
        active.complete(active.scan(NOW, 0.0), found, not_before=0.5)
        assert not stream.is_ending

        question = active.by_rule.query()
        active.by_rule.learn(question, [set()])  # it hides the job
        active.complete(active.scan(NOW, 1.0), found, not_before=1.5)
        assert stream.end_reason is EndReason.IDLE

    async def test_scan_asks_for_the_ends_since_the_last_one_and_those_that_clients_missed(
        self, active, watching
    ):
        later = NOW + timedelta(hours=1)
        scan = active.scan(later, 1.0)
        assert (scan.ended_since, scan.joining) == (NOW - OVERLAP, {})
        assert active.scan(NOW - OVERLAP, 1.0).sent_since == NOW - 2 * OVERLAP  # set back
        new = joining(active)
        recent = joining(active, cursor_at(later))
        assert active.scan(later, 1.0).ended_since == NOW - OVERLAP
        early = joining(active, cursor_at(NOW - timedelta(days=1)))
        scan = active.scan(later, 1.0)

        assert scan.ended_since == NOW - timedelta(days=1) - OVERLAP
        assert scan.joining == {
            new: None,
            recent: later - OVERLAP,
            early: NOW - timedelta(days=1) - OVERLAP,
        }
        active.complete(scan, {}, not_before=2.0)
        assert active.scan(later, 2.0).ended_since == later - OVERLAP
        assert watching.not_before == 0.5
        assert {each.not_before for each in (new, recent, early)} == {2.0}

    async def test_first_scan_asks_for_the_last_minute(self, active):
        joining(active)
        assert active.scan(NOW, 0.0).ended_since == NOW - OVERLAP

    async def test_end_is_sent_from_the_oldest_that_the_scan_covers(self, active, watching):
        scan = active.scan(NOW, 1.0)
        for name, age in (("too-old", OVERLAP + timedelta(seconds=1)), ("oldest", OVERLAP)):
            active.job_ended(name, ended(name, NOW - age), was_active=False, scan=scan)

        assert sent(watching) == [b'"job_id":"oldest"']
        assert (set(active.sent), set(scan.missed)) == ({"oldest"}, {"too-old"})

    async def test_end_without_a_scan_is_sent_only_if_the_job_was_active(self, active, watching):
        for name, was_active in (("unknown", False), ("known", True)):
            end = ended(name, NOW - timedelta(days=1))
            active.job_ended(name, end, was_active=was_active, scan=None)
            active.job_ended(f"no-{name}", GONE, was_active=was_active, scan=None)

        assert sent(watching) == [b'"job_id":"known"', b'"job_id":"gone"']

    async def test_ends_are_remembered_as_long_as_a_scan_may_find_them(self, active, watching):
        active.job_ended("job", ended("job", NOW), was_active=True, scan=None)
        active.complete(active.scan(NOW + OVERLAP, 1.0), {}, not_before=0.0)
        active.scan(NOW + OVERLAP, 2.0)
        assert set(active.sent) == {"job"}
        active.complete(active.scan(NOW + OVERLAP, 3.0), {}, not_before=0.0)
        later = NOW + OVERLAP + timedelta(seconds=1)
        active.complete(active.scan(later, 4.0), {}, not_before=0.0)
        active.scan(later, 5.0)

        assert active.sent == {}

    async def test_end_is_sent_again_after_the_job_could_not_be_read(self, active, watching):
        end, counts = ended("job", NOW), []
        for _ in range(2):
            active.job_ended("job", end, was_active=True, scan=None)
            counts.append(len(sent(watching)))
            active.job_ended("job", end, was_active=True, scan=None)
            counts.append(len(sent(watching)))
            active.job_unreadable("job", GONE, clock=0.0)
            sent(watching)
        active.job_ended("job", end, was_active=True, scan=None)

        assert counts == [1, 0, 1, 0]
        assert not active.broken(1.0)

    async def test_unreadable_job_is_sent_once_and_read_again_after_a_minute(
        self, active, watching
    ):
        active.job_unreadable("job", GONE, clock=10.0)
        assert sent(watching) == [b'"job_id":"gone"']
        assert [set(active.broken(clock)) for clock in (69.9, 70.0)] == [{"job"}, set()]
        active.job_unreadable("job", GONE, clock=70.0)
        assert sent(watching) == []
        active.complete(active.scan(NOW, 129.9), {}, not_before=0.0)
        assert active.broken(129.9)

        active.complete(active.scan(NOW, 130.0), {}, not_before=0.0)

        active.job_unreadable("job", GONE, clock=131.0)
        assert len(sent(watching)) == 1  # it was readable meanwhile
        active.job_active("job")
        assert not active.broken(131.0)

    async def test_nothing_is_remembered_once_nobody_watches(self, active, watching):
        other = joining(active)
        active.job_unreadable("bad", GONE, clock=0.0)
        active.job_ended("ended", ended("ended", NOW), was_active=True, scan=None)
        active.leave(watching)
        assert active.sent
        assert active.broken(1.0)
        shared = active.subscribers, active.by_rule  # watched jobs and readers refer to them
        active.leave(other)

        assert (active.subscribers, active.by_rule) == shared
        assert active.subscribers is shared[0]
        assert not active.subscribers | active.joining
        assert not active.sent
        assert not active.broken(1.0)
        later = NOW + timedelta(hours=1)
        assert active.scan(later, 0.0).ended_since == later - OVERLAP

    async def test_error_of_a_job_is_sent_to_new_streams_of_its_batch_only(self, active, watching):
        active.job_unreadable("bad", NoState(missing_frame("gone"), batch="b"), clock=0.0)
        mine, other = joining(active, batch="b"), joining(active, batch="c")
        active.complete(active.scan(NOW, 1.0), {}, not_before=0.0)

        assert (sent(mine), sent(other)) == ([b'"job_id":"gone"'], [])

    async def test_stream_that_resumes_gets_the_ends_since_its_own_last_event(self, active):
        day = timedelta(days=1)
        late, early = (joining(active, cursor_at(NOW - age)) for age in (day, 3 * day))
        scan = active.scan(NOW, 0.0)
        for name, age in (("old", 2 * day), ("new", day / 2)):
            active.job_ended(name, ended(name, NOW - age), was_active=False, scan=scan)
        active.complete(scan, {}, not_before=0.0)

        assert sent(late) == [b'"job_id":"new"']
        assert sent(early) == [b'"job_id":"old"', b'"job_id":"new"']

    async def test_stream_that_was_opened_before_the_scan_gets_the_states_at_once(self, active):
        stream = joining(active)
        stream.open()
        waiter = stream.__anext__()
        active.complete(active.scan(NOW, 1.0), {"job": ended("job", NOW)}, not_before=0.0)

        assert b'"job_id":"job"' in waiter.result()
