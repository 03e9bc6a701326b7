"""When a stream of many jobs ends, and when it is silent."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from ingestion_progress.feed import Selection
from ingestion_progress.feed.job_state import cursor_at
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.frames import KEEPALIVE
from tests.feed.test_many_jobs import (
    finish,
    following,
    is_silent,
    jobs_of,
    make_job,
    ready,
    watch_all,
    watch_named,
    write,
)
from tests.support.frames import is_current

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

KEEPALIVE_SECONDS = 60


async def test_named_job_that_runs_again_keeps_its_stream_open(feed):
    await make_job("retried")
    await make_job("other")
    subscriber = await ready(watch_named(feed, "retried", "other", is_until_idle=True))
    await jobs_of(subscriber, 2)
    await finish("retried", JobStatus.FAILED)
    await following(subscriber)
    await write("retried", status=JobStatus.RUNNING, finished_at=None, epoch="again", attempt=2)
    await following(subscriber)
    await finish("other")
    assert (await following(subscriber))[-1][0] == "complete"
    assert await is_silent(subscriber)
    await finish("retried")

    assert (await following(subscriber))[-1][0] == "complete"
    assert (await following(subscriber))[0][0] == "idle"


async def test_retry_reaches_a_stream_of_named_jobs_after_a_viewer_of_one_job_has_left(feed):
    await make_job("retried")
    subscriber = await ready(watch_named(feed, "retried"))
    await following(subscriber)
    feed.unsubscribe(await ready(feed.join(Selection.one("retried"))))
    await finish("retried", JobStatus.FAILED)
    assert (await following(subscriber))[-1][0] == "error"
    await write("retried", status=JobStatus.RUNNING, finished_at=None, epoch="again", attempt=2)

    assert (await following(subscriber))[-1][2]["attempt"] == 2


async def test_client_that_resumes_gets_the_ends_it_missed_before_the_idle_event(feed):
    last_event_id = cursor_at(timezone.now() - timedelta(minutes=5))
    await make_job("missed", JobStatus.SUCCEEDED)
    resumed = await ready(watch_all(feed, is_until_idle=True, last_event_id=last_event_id))

    assert not is_current(resumed)
    assert (await following(resumed))[-1][0] == "complete"
    assert (await following(resumed))[0][0] == "idle"


async def test_client_with_the_idle_cursor_of_an_earlier_attempt_gets_the_new_end(feed):
    await make_job("retried", JobStatus.FAILED)
    await make_job("other", JobStatus.FAILED)
    names = ("retried", "other")
    subscriber = await ready(watch_named(feed, *names, is_until_idle=True))
    await jobs_of(subscriber, 2)
    ((_, idle_id, _),) = await following(subscriber)
    feed.unsubscribe(subscriber)  # what it watched may be as old as the last poll
    await finish("retried", epoch="again", attempt=2)  # started and ended meanwhile
    back = await ready(watch_named(feed, *names, is_until_idle=True, last_event_id=idle_id))

    assert not is_current(back)
    assert set(await jobs_of(back, 2)) == set(names)
    ((_, new_id, _),) = await following(back)
    same = watch_named(feed, *reversed(names), is_until_idle=True, last_event_id=new_id)
    assert is_current(await ready(same))


async def test_silent_stream_gets_one_comment_per_interval(feed, clock):
    subscriber = await ready(watch_all(feed))
    began_at = clock.now
    feed.keep_alive(began_at)
    comments = []
    for seconds in range(3 * KEEPALIVE_SECONDS + 1):
        waiter = subscriber.__anext__()
        clock.now = began_at + seconds
        feed.keep_alive(clock.now)
        if waiter.done():
            assert waiter.result() == KEEPALIVE
            comments.append(seconds)

    assert comments == [60, 120, 180]
