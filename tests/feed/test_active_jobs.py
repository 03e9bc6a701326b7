"""Which ends reach the streams of all jobs, and who counts as one of them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from django.db import OperationalError
from django.utils import timezone

from ingestion_progress import wakeups
from ingestion_progress.feed import Selection, poller
from ingestion_progress.feed.selection import OVERLAP
from ingestion_progress.models.statuses import JobStatus
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
    monkeypatch.setattr(poller, "timezone", SimpleNamespace(now=lambda: down_since))
    subscriber = await ready(watch_all(feed))
    reads = CountedReads(monkeypatch)

    def fail() -> None:
        raise OperationalError("the database is down")

    reads.before = fail
    async with asyncio.timeout(5):
        while not feed.is_failing:  # noqa: ASYNC110  (the read is in a thread)
            await asyncio.sleep(0.01)
    await make_job("job", JobStatus.SUCCEEDED, finished_at=down_since + 5 * OVERLAP)
    monkeypatch.setattr(poller, "timezone", timezone)
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

    assert [name for name, _, _ in events] == ["pipeline_progress", "job_state"]
    assert events[1][2]["attempt"] == 2
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
    async with asyncio.timeout(5):
        while leaving:  # noqa: ASYNC110  (the read is in a thread)
            await asyncio.sleep(0.01)
    await ready(feed.join(Selection.one("second")))  # the read after that one
    wakeups.publish("unwatched")
    await ready(feed.join(Selection.one("third")))

    assert feed.watched_job_count == 3
