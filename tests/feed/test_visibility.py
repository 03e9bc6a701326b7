"""Which jobs streams of active jobs show by a rule, and what it costs to find out."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.feed import Selection, Subscription, visibility_reader
from ingestion_progress.feed.selection import OVERLAP
from ingestion_progress.feed.visibility import (
    ANSWERS_PER_QUERY,
    MAX_NAMED,
    Change,
    Visibility,
    VisibilityQuery,
)
from ingestion_progress.feed.visibility_reader import VisibilityReader
from ingestion_progress.feed.visible_jobs import VisibleJobs, query_key
from ingestion_progress.feed.watched_jobs import WatchedJobs
from ingestion_progress.models import Job


def answer(*ids: str, key: str = "", asked_at: float | None = None) -> VisibleJobs:
    at = time.monotonic() if asked_at is None else asked_at
    return VisibleJobs(jobs=Job.objects.all(), key=key, ids=set(ids), asked_at=at)


@pytest.fixture
def visibility() -> Visibility:
    return Visibility()


def entered(visibility: Visibility, visible: VisibleJobs) -> Subscription:
    subscription = Subscription(Selection.active(), asyncio.get_running_loop())
    visibility.enter(subscription, visible)
    visibility.start(subscription)
    return subscription


async def test_a_stream_shows_the_jobs_of_its_answer_only(visibility):
    stream = entered(visibility, answer("a"))
    assert list(visibility.showing("a")) == [stream]
    assert list(visibility.showing("b")) == []
    assert stream.selection.shows("a", "")
    assert not stream.selection.shows("b", "")


async def test_streams_with_the_same_query_share_an_answer(visibility):
    first, second = (entered(visibility, answer(name)) for name in ("a", "b"))
    other = entered(visibility, answer("b", key="other"))
    assert first.selection.visible is second.selection.visible
    assert set(visibility.showing("a")) == {first, second}
    assert set(visibility.showing("b")) == {first, second, other}
    visibility.leave(first)
    assert set(visibility.showing("a")) == {second}
    visibility.leave(second)
    assert set(visibility.members()) == {other}


async def test_new_jobs_are_asked_about_once(visibility):
    stream = entered(visibility, answer("a"))
    visibility.found({"a", "b", "c"})
    assert visibility.unknown.is_set()
    question = visibility.query()
    assert sorted(question.job_ids) == ["a", "b", "c"]
    (change,) = visibility.learn(question, [{"a", "b"}])
    assert (change.subscribers, change.shown) == ([stream], {"b"})
    visibility.found({"a", "b", "c"})
    assert visibility.query() is None
    visibility.found({"a", "b", "c", "d"})
    assert visibility.query().job_ids == ["d"]


async def test_a_job_that_is_found_during_a_question_is_asked_about_by_the_next(visibility):
    entered(visibility, answer())
    visibility.found({"a"})
    question = visibility.query()
    visibility.found({"a", "b"})
    visibility.learn(question, [set()])
    assert visibility.query().job_ids == ["b"]


async def test_a_stream_asks_about_jobs_that_were_found_after_it_was_admitted(visibility):
    entered(visibility, answer(key="other"))
    admitted = answer("a")
    visibility.found({"a", "b"})
    visibility.unknown.clear()
    stream = entered(visibility, admitted)
    assert stream.selection.visible.is_behind
    assert visibility.unknown.is_set()
    assert "b" in visibility.query().job_ids


async def test_a_stream_that_knows_the_newest_jobs_asks_nothing(visibility):
    entered(visibility, answer(key="other"))
    visibility.found({"a"})
    visibility.learn(visibility.query(), [{"a"}])
    visibility.unknown.clear()
    entered(visibility, answer("a"))
    assert not visibility.unknown.is_set()
    assert visibility.query() is None


async def test_a_question_is_about_all_that_the_oldest_answer_does_not_know(visibility):
    entered(visibility, answer(key="old"))
    visibility.found({"a"})
    entered(visibility, answer("a", key="new"))
    visibility.found({"a", "b"})
    assert sorted(visibility.query().job_ids) == ["a", "b"]


async def test_a_job_that_is_gone_before_its_answer_is_not_shown(visibility):
    stream = entered(visibility, answer())
    visibility.found({"a"})
    question = visibility.query()
    visibility.found(set())
    (change,) = visibility.learn(question, [{"a"}])
    assert change.shown == set()
    assert visibility.replace(stream, answer("a")).shown == set()
    assert list(visibility.showing("a")) == []


async def test_jobs_that_are_gone_are_forgotten(visibility):
    stream = entered(visibility, answer("a"))
    visibility.found({"a"})
    visibility.found(set())
    assert stream.selection.visible.ids == set()
    assert list(visibility.showing("a")) == []


async def test_jobs_that_no_open_stream_shows_take_no_memory(visibility):
    first = entered(visibility, answer("a", "b"))
    second = entered(visibility, answer("b", "c", key="other"))
    visibility.replace(second, answer("c", key="other"))
    visibility.leave(first)
    assert set(visibility._by_job) == {"c"}
    visibility.found({"c"})
    visibility.leave(second)
    assert not visibility._by_job
    visibility.found({"c"})
    assert not visibility._found_at


async def test_new_jobs_are_asked_about_while_ends_may_be_missing(visibility):
    stream = entered(visibility, answer("a"))
    visibility.found({"a"})
    visibility.learn(visibility.query(), [{"a"}])
    visibility.found({"b"}, are_all=False)
    assert visibility.query().job_ids == ["b"]
    assert list(visibility.showing("a")) == [stream]


async def test_an_answer_for_streams_that_have_ended_is_dropped(visibility):
    stream = entered(visibility, answer())
    visibility.found({"a"})
    question = visibility.query()
    visibility.leave(stream)
    assert visibility.learn(question, [{"a"}]) == []
    assert list(visibility.showing("a")) == []
    assert not visibility


async def test_a_question_that_failed_is_asked_again(monkeypatch, caplog):
    questions = []

    def ask(question: VisibilityQuery) -> list[set[str]]:
        questions.append(question)
        if len(questions) == 1:
            raise OperationalError("the database is down")
        return [{"new"}]

    monkeypatch.setattr(VisibilityQuery, "ask", ask)
    monkeypatch.setattr(visibility_reader, "PAUSE_SECONDS", 0.01)
    # The pauses between failures are those of `Backoff`.
    monkeypatch.setattr(Backoff, "pause_seconds", 0.0)
    jobs = WatchedJobs()
    visible = answer(asked_at=0.0)
    entered(jobs.active.by_rule, visible)
    jobs.active.by_rule.found(["new"])
    reader = VisibilityReader(jobs)
    reading = asyncio.create_task(reader.run())
    async with asyncio.timeout(60):
        while not visible.ids:  # noqa: ASYNC110  (the thread of the reader has no event)
            await asyncio.sleep(0.01)
    reading.cancel()
    thread = reader._thread
    assert thread.is_alive
    reader.close()
    async with asyncio.timeout(60):
        while thread.is_alive:  # noqa: ASYNC110  (nothing says so)
            await asyncio.sleep(0.01)
    assert len(questions) == 2
    failure, success = [each for each in caplog.records if each.message.startswith("visible_jobs")]
    assert (failure.levelname, failure.exc_info[0]) == ("ERROR", OperationalError)
    assert success.message == "visible_jobs_recovered"


async def test_a_newer_answer_shows_and_hides_jobs_of_all_its_streams(visibility):
    streams = [entered(visibility, answer("a", "b")) for _ in range(2)]
    visibility.found({"a", "b", "c"})
    change = visibility.replace(streams[0], answer("b", "c"))
    assert set(change.subscribers) == set(streams)
    assert (change.shown, change.hidden) == ({"c"}, {"a"})
    assert visibility.replace(streams[1], answer("b", "c")).hidden == set()


async def test_a_newer_answer_hides_no_job_that_was_found_after_it_was_read(visibility):
    stream = entered(visibility, answer())
    fresh = answer()
    visibility.found({"a"})
    visibility.learn(visibility.query(), [{"a"}])
    assert visibility.replace(stream, fresh).hidden == set()
    assert list(visibility.showing("a")) == [stream]


async def test_another_query_changes_one_stream_only(visibility):
    first, second = (entered(visibility, answer("a")) for _ in range(2))
    visibility.found({"a", "b"})
    change = visibility.replace(first, answer("b", key="other"))
    assert change.subscribers == [first]
    assert (change.shown, change.hidden) == ({"b"}, {"a"})
    assert list(visibility.showing("a")) == [second]


async def test_a_newer_answer_for_a_stream_without_its_first_states_changes_nothing_yet(visibility):
    stream = Subscription(Selection.active(), asyncio.get_running_loop())
    visibility.enter(stream, answer("a"))
    assert visibility.replace(stream, answer("b", key="other")) == Change()
    assert stream.selection.visible.ids == {"b"}
    assert list(visibility.members()) == [stream]
    assert list(visibility.subscribers()) == []


async def test_a_newer_answer_for_a_stream_that_has_left_is_dropped(visibility):
    stream, other = (entered(visibility, answer("a", key=key)) for key in ("", "other"))
    visibility.leave(stream)
    assert visibility.replace(stream, answer("b", key="new")) == Change()
    assert list(visibility.members()) == [other]


@pytest.mark.django_db
@pytest.mark.database
class TestQueries:
    def test_what_is_visible_at_first_are_active_and_lately_ended_jobs(self):
        now = timezone.now()
        Job.objects.create(id="active")
        Job.objects.create(id="ended", status="failed", finished_at=now)
        old = now - timedelta(hours=1)
        Job.objects.create(id="old", status="failed", finished_at=old)
        Job.objects.create(id="hidden", metadata={"team": "other"})
        visible = VisibleJobs.read(Job.objects.exclude(pk="hidden"), now - timedelta(minutes=1))
        assert visible.ids == {"active", "ended"}

    def test_of_many_jobs_that_ended_the_latest_are_visible(self, monkeypatch):
        monkeypatch.setattr("ingestion_progress.feed.visible_jobs.MAX_ENDED", 1)
        now = timezone.now()
        for name, seconds in (("latest", 1), ("earlier", 9)):
            ended_at = now - timedelta(seconds=seconds)
            Job.objects.create(id=name, status="failed", finished_at=ended_at)
        assert VisibleJobs.read(Job.objects.all(), now - OVERLAP).ids == {"latest"}

    def test_an_answer_is_as_old_as_its_first_query(self):
        """A job that the feed finds between the queries may be missing in it."""
        queried_at = []

        def note(execute, *args):
            queried_at.append(time.monotonic())
            return execute(*args)

        with connection.execute_wrapper(note):
            visible = VisibleJobs.read(Job.objects.all(), timezone.now())
        assert visible.asked_at <= queried_at[0]

    def test_equal_queries_have_equal_keys(self):
        assert query_key(Job.objects.filter(batch="a")) == query_key(Job.objects.filter(batch="a"))
        assert query_key(Job.objects.filter(batch="a")) != query_key(Job.objects.filter(batch="b"))
        assert query_key(Job.objects.none()) == query_key(Job.objects.filter(pk__in=[]))

    @pytest.mark.parametrize(("viewers", "queries"), [(1, 1), (50, 1), (51, 2), (500, 10)])
    def test_many_different_rules_are_asked_together(self, viewers, queries):
        assert ANSWERS_PER_QUERY == 50
        for number in range(0, 500, 50):
            Job.objects.create(id=f"job-{number}", batch=f"batch-{number}")
        Job.objects.create(id="old")

        async def ask():
            visibility = Visibility()
            for number in range(viewers):
                jobs = Job.objects.filter(batch=f"batch-{number}")
                visible = VisibleJobs(
                    jobs=jobs, key=query_key(jobs), ids=set(), asked_at=time.monotonic()
                )
                entered(visibility, visible)
            visibility.found({f"job-{number}" for number in range(0, 500, 50)})
            return visibility.query()

        question = asyncio.run(ask())
        with CaptureQueriesContext(connection) as captured:
            visible = question.ask()
        assert len(captured) == queries
        shown = {next(iter(ids)) for ids in visible if ids}
        assert shown == {f"job-{number}" for number in range(0, viewers, 50)}
        assert all(len(ids) <= 1 for ids in visible)

    def test_many_new_jobs_are_asked_about_without_naming_them(self, django_assert_num_queries):
        names = [f"job-{number}" for number in range(MAX_NAMED + 1)]
        Job.objects.bulk_create(Job(id=name, batch="import") for name in names)
        now = timezone.now()
        ended_at = now - OVERLAP  # one that a scan may still find
        Job.objects.create(id="ended", batch="import", status="failed", finished_at=ended_at)
        Job.objects.create(id="unasked", batch="import")
        visible = answer(key="b")
        visible.jobs = Job.objects.filter(batch="import")
        question = VisibilityQuery(answers=[visible], job_ids=[*names, "ended", "other"], at=0.0)
        with django_assert_num_queries(1):
            assert question.ask() == [{*names, "ended"}]

    def test_rules_with_order_slices_and_distinct_are_asked_too(self):
        Job.objects.create(id="a")
        sliced = Job.objects.filter(pk__in=Job.objects.order_by("-created_at")[:5].values("pk"))

        async def ask():
            visibility = Visibility()
            for jobs in (sliced, Job.objects.none(), Job.objects.all()):
                visible = VisibleJobs(
                    jobs=jobs, key=query_key(jobs), ids=set(), asked_at=time.monotonic()
                )
                entered(visibility, visible)
            visibility.found({"a"})
            return visibility.query()

        assert asyncio.run(ask()).ask() == [{"a"}, set(), {"a"}]
