"""Who receives the results of a read, and what the next read compares with."""

from __future__ import annotations

import asyncio

import pytest

from ingestion_progress.feed import Selection, Subscription
from ingestion_progress.feed.active_jobs import MAX_BATCHES_READ, ActiveJobs
from ingestion_progress.feed.job_state import JobState, NoState, State
from ingestion_progress.feed.queries import Changes, LastSeen, Scope
from ingestion_progress.feed.watched_jobs import WatchedJobs
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.frames import KEEPALIVE, missing_frame
from tests.feed.test_watched_job import NOW, state

MISSING = NoState(missing_frame("job"))


@pytest.fixture(autouse=True)
def throttle(settings):
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 0.5


@pytest.fixture
def jobs() -> WatchedJobs:
    return WatchedJobs()


def join(jobs: WatchedJobs, selection: Selection) -> Subscription:
    """A stream that is read."""
    subscription = Subscription(selection, asyncio.get_running_loop())
    if selection.job_ids is None:
        jobs.active.joining.add(subscription)
        jobs.complete(jobs.active.scan(NOW, 0.0), 0.0)
    for job_id in selection.job_ids or ():
        job = jobs.by_id.get(job_id) or jobs.watch(job_id)
        job.join(subscription, clock=0.0, now=NOW)
    subscription.open()
    return subscription


def publish(jobs: WatchedJobs, state: State, clock: float, *, is_scan: bool = False) -> None:
    scan = jobs.active.scan(NOW, clock) if is_scan else None
    jobs.publish(Changes(states={"job": state}), scan, clock)


async def test_last_seen_says_which_state_is_known_and_whether_the_throttle_pauses_it(jobs):
    for job_id in ("job", "unread"):
        join(jobs, Selection.one(job_id))
    known = state(1)
    publish(jobs, known, 10.0)

    assert jobs.last_seen(["job", "unread", "unwatched"], 10.4) == {
        "job": LastSeen.of(known, is_paused=True),
        "unread": None,
    }
    assert jobs.last_seen(["job"], 10.5) == {"job": LastSeen.of(known)}


async def test_scope_names_the_frames_that_are_needed(jobs):
    join(jobs, Selection.one("single"))
    join(jobs, Selection.named(["named", "both"]))
    join(jobs, Selection.one("both"))
    names = ("single", "named", "both")

    assert jobs.scope(names, None) == Scope(single={"single", "both"}, multi={"named", "both"})
    join(jobs, Selection.active())
    assert jobs.scope(names, None) == Scope(single={"single", "both"}, multi=None)


async def test_scope_of_a_scan_has_the_ends_that_were_sent_and_what_cannot_be_read(jobs):
    join(jobs, Selection.active())
    end = state(2, JobStatus.FAILED)
    publish(jobs, end, 1.0, is_scan=True)
    jobs.active.job_unreadable("bad", MISSING, clock=1.0)
    scan = jobs.active.scan(NOW, 2.0)

    assert jobs.scope([], scan) == Scope(
        single=set(),
        multi=None,
        ended_since=scan.ended_since,
        sent={"job": LastSeen.of(end)},
        broken=frozenset({"bad"}),
    )
    assert jobs.scope([], None) == Scope(single=set(), multi=None)


async def test_scan_reads_the_batches_of_the_streams_unless_one_shows_all_jobs(jobs):
    def scanned() -> frozenset[str] | None:
        scan = jobs.active.scan(NOW, 0.0)
        assert jobs.scope([], scan).batches == scan.batches
        return scan.batches

    join(jobs, Selection.active(batch="a"))
    jobs.active.joining.add(Subscription(Selection.active(batch="b"), asyncio.get_running_loop()))
    assert scanned() == {"a", "b"}
    join(jobs, Selection.active())
    assert scanned() is None


async def test_scan_for_streams_of_many_batches_reads_all_jobs(jobs):
    for n in range(MAX_BATCHES_READ):
        join(jobs, Selection.active(batch=f"{n}"))
    assert len(jobs.active.scan(NOW, 0.0).batches) == MAX_BATCHES_READ
    join(jobs, Selection.active(batch="one more"))
    assert jobs.active.scan(NOW, 0.0).batches is None


async def test_job_that_no_remaining_stream_shows_is_forgotten(jobs):
    of_all, of_batch = join(jobs, Selection.active()), join(jobs, Selection.active(batch="a"))
    join(jobs, Selection.active(batch="b"))
    publish(jobs, state(1), 1.0, is_scan=True)
    jobs.leave(of_batch)
    assert "job" in jobs.by_id
    jobs.leave(of_all)
    assert "job" not in jobs.by_id


async def test_job_that_is_hidden_from_its_only_stream_is_forgotten(jobs):
    first, second = (join(jobs, Selection.named(["job"])) for _ in range(2))
    publish(jobs, state(1), 0.0)
    jobs.hide(first, ["job"])
    assert set(jobs.by_id) == {"job"}
    jobs.hide(second, ["job"])
    assert not jobs.by_id


async def test_first_scan_encodes_for_streams_of_all_jobs(jobs):
    jobs.active.joining.add(Subscription(Selection.active(), asyncio.get_running_loop()))
    assert jobs.scope([], jobs.active.scan(NOW, 0.0)).multi is None


@pytest.mark.parametrize(
    ("selection", "end", "is_watched"),
    [
        (Selection.one, state(2, JobStatus.FAILED), False),
        (Selection.named, state(2, JobStatus.FAILED), True),
        (Selection.one, MISSING, False),
        (Selection.named, MISSING, True),
        (Selection.named, state(2), True),
    ],
)
async def test_job_that_has_ended_is_watched_on_for_streams_of_many_jobs(
    jobs, selection, end, is_watched
):
    join(jobs, selection("job" if selection == Selection.one else ["job"]))
    publish(jobs, end, 0.0)

    assert ("job" in jobs.by_id) is is_watched


async def test_held_back_jobs_are_read_later_if_they_are_watched(jobs):
    join(jobs, Selection.one("job"))
    jobs.publish(Changes(held_back={"job", "unwatched"}), None, 0.0)

    assert jobs.by_id["job"].is_behind
    assert set(jobs.by_id) == {"job"}


async def test_scan_adds_active_jobs_and_no_others(jobs):
    viewer = join(jobs, Selection.active())
    publish(jobs, state(1), 0.0)
    assert not jobs.by_id  # nobody scanned
    publish(jobs, state(1, JobStatus.FAILED), 0.0, is_scan=True)
    assert not jobs.by_id
    publish(jobs, state(2), 0.0, is_scan=True)
    assert set(jobs.by_id) == {"job"}
    jobs.leave(viewer)
    assert not jobs.by_id

    jobs.publish(Changes(states={"job": state(3)}), jobs.active.scan(NOW, 0.0), 1.0)
    assert not jobs.by_id  # the viewer left during the read


async def test_leaving_keeps_the_jobs_of_others(jobs):
    one, both = join(jobs, Selection.one("a")), join(jobs, Selection.named(["a", "b", "c"]))
    jobs.leave(both)
    assert set(jobs.by_id) == {"a"}
    jobs.leave(one)
    assert not jobs.by_id


async def test_fresh_state_does_not_replace_a_newer_one(jobs):
    join(jobs, Selection.one("job"))
    publish(jobs, state(1), 0.0)
    stale = jobs.stale(10.0)
    assert stale == {"job": jobs.by_id["job"].state}
    fresh: dict[str, JobState] = {"job": state(1), "gone": state(1)}
    jobs.replace(stale | {"gone": state(1)}, fresh, 10.0)
    assert (jobs.by_id["job"].state, jobs.by_id["job"].encoded_at) == (fresh["job"], 10.0)
    assert fresh["job"].multi_frame
    assert not jobs.stale(10.5)
    publish(jobs, state(2), 11.0)

    jobs.replace(fresh, {"job": state(1)}, 12.0)

    assert jobs.by_id["job"].state.snapshot.job.revision == 2


async def test_new_stream_of_all_jobs_gets_active_jobs_and_the_throttle(jobs):
    for job_id, status in (("active", JobStatus.RUNNING), ("ended", JobStatus.FAILED)):
        join(jobs, Selection.named([job_id]))
        jobs.publish(Changes(states={job_id: state(1, status)}), None, 0.0)
    late = Subscription(Selection.active(), asyncio.get_running_loop())
    jobs.active.joining.add(late)
    jobs.complete(jobs.active.scan(NOW, 1.0), 3.0)

    assert late.not_before == 3.5
    assert late.open() == jobs.by_id["active"].state.multi_frame.body
    assert not late.__anext__().done()


async def test_silent_streams_of_each_kind_are_kept_alive(jobs):
    streams = [join(jobs, Selection.one("job")), join(jobs, Selection.active())]
    unscanned = Subscription(Selection.active(), asyncio.get_running_loop())
    jobs.active.joining.add(unscanned)
    unscanned.open()
    waiters = [each.__anext__() for each in (*streams, unscanned)]
    jobs.keep_alive(100.0, 15)
    jobs.keep_alive(114.9, 15)
    silent = [each.done() for each in waiters]
    jobs.keep_alive(115.0, 15)

    assert silent == [True, False, False]  # the first has been silent since 0
    assert [each.result() for each in waiters] == [KEEPALIVE] * 3


async def test_unreadable_job_is_logged_and_watched_no_more(jobs, caplog):
    named, everything = join(jobs, Selection.named(["job"])), join(jobs, Selection.active())
    waiters = [each.__anext__() for each in (named, everything)]
    error = ValueError("many")
    jobs.publish(Changes(states={"job": MISSING}, broken={"job": error}), None, 0.0)

    assert [each.result() for each in waiters] == [MISSING.frame.body] * 2
    assert not jobs.by_id
    assert jobs.active.broken(1.0) == {"job"}
    (record,) = caplog.records
    assert (record.message, record.job_id, record.exc_info[1]) == ("sse_stream_error", "job", error)


async def test_nothing_is_kept_for_streams_of_all_jobs_while_there_are_none(jobs):
    join(jobs, Selection.one("job"))
    publish(jobs, state(1, JobStatus.FAILED), 0.0)
    jobs.publish(Changes(states={"job": MISSING}, broken={"job": ValueError()}), None, 0.0)

    assert not jobs.active.sent
    assert not jobs.active.broken(0.0)


async def test_ends_are_published_in_their_order_and_before_states(jobs):
    viewer = join(jobs, Selection.named("abc"))
    later, earlier = (state(1, JobStatus.FAILED) for _ in range(2))
    earlier.snapshot.job.finished_at = NOW.replace(year=2025)
    jobs.publish(Changes(states={"a": state(1), "b": later, "c": earlier}), None, 0.0)

    assert [await anext(viewer) for _ in "abc"] == [
        each.multi_frame.body for each in (earlier, later, jobs.by_id["a"].state)
    ]


def test_streams_of_all_jobs_are_one_set_for_all_watched_jobs(jobs):
    assert jobs.watch("a").all_jobs is jobs.watch("b").all_jobs
    assert jobs.by_id["b"].all_jobs is jobs.active.subscribers
    assert isinstance(jobs.active, ActiveJobs)
