"""When a stream of many jobs ends, and when it is silent."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from ingestion_progress.feed import Selection
from ingestion_progress.feed.job_state import cursor_at
from ingestion_progress.feed.selection import BEGINNING, OVERLAP
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.frames import KEEPALIVE, missing_frame
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
from tests.support.frames import frame, is_current

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


class TestAnswers:
    """What a selection says of itself, without a feed."""

    def test_one_job(self):
        selection = Selection.one("a", last_event_id="7")

        assert (selection.job_ids, selection.access_ids) == (("a",), ("a",))
        assert (selection.is_single, selection.is_until_idle) == (True, False)
        assert (selection.error_job_id, selection.last_event_id) == ("a", "7")
        assert selection.unanswered == {"a"}

    def test_named_jobs(self):
        selection = Selection.named("abab", is_until_idle=True, last_event_id="7")

        assert (selection.job_ids, selection.access_ids) == (("a", "b"), ("a", "b"))
        assert (selection.is_single, selection.is_until_idle) == (False, True)
        assert (selection.error_job_id, selection.last_event_id) == ("", "7")
        assert Selection.named("a").error_job_id == ""

    def test_active_jobs(self):
        selection = Selection.active(batch="b", is_until_idle=True, last_event_id="7")

        assert (selection.job_ids, selection.access_ids) == (None, ("",))
        assert (selection.is_single, selection.is_until_idle) == (False, True)
        assert (selection.error_job_id, selection.last_event_id) == ("", "7")
        assert [selection.includes(batch) for batch in ("b", "c", "")] == [True, False, False]
        assert Selection.active().includes("b")
        assert not selection.is_idle

    @pytest.mark.parametrize("selection", [Selection.named("a"), Selection.active()])
    def test_stream_of_many_jobs_is_new_and_endless_by_default(self, selection):
        assert (selection.is_until_idle, selection.last_event_id) == (False, "")
        assert (selection.batch, selection.ended) == ("", {})

    def test_only_a_stream_of_one_job_has_the_state_of_its_cursor(self):
        assert Selection.one("a", last_event_id="epoch-1").has(frame(1))
        assert not Selection.one("a", last_event_id="epoch-1").has(frame(2))
        assert not Selection.named("a", last_event_id="epoch-1").has(frame(1))
        assert not Selection.one("a").has(missing_frame("a"))

    def test_cursor_ahead_of_the_clock_by_more_than_the_overlap_means_all_ends(self):
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        for ahead, since in ((OVERLAP, moment), (OVERLAP + timedelta(seconds=1), BEGINNING)):
            selection = Selection.active(last_event_id=cursor_at(moment + ahead))
            assert selection.ended_since(moment) == since

    def test_ends_are_noted_of_named_jobs_only(self):
        selection = Selection.active()
        selection.note("a", frame(1, is_final=True))

        assert not selection.ended

    def test_named_jobs_are_idle_while_each_of_them_has_ended(self):
        selection, final = Selection.named("ab"), frame(1, is_final=True)
        seen = []
        for job_id, state in (("a", frame(1)), ("a", final), ("b", final), ("a", frame(2))):
            selection.note(job_id, state)
            seen.append((selection.is_idle, sorted(selection.unanswered)))

        assert seen == [(False, ["b"]), (False, ["b"]), (True, []), (False, [])]

    def test_idle_cursor_depends_on_names_and_versions_and_not_on_their_order(self):
        def cursor(**ends: int) -> str:
            selection = Selection.named(ends)
            for job_id, number in ends.items():
                selection.note(job_id, frame(number, is_final=True))
            return selection.idle_cursor

        assert cursor(a=1, b=2) == cursor(b=2, a=1)
        assert len({cursor(a=1, b=2), cursor(a=2, b=1), cursor(a=1, c=2), cursor(a=1)}) == 4
        assert re.fullmatch("idle-[0-9a-f]{24}", cursor(a=1))
