"""Items with keys: each counts once, and the next attempt continues with the others."""

from __future__ import annotations

from functools import partial

import pytest
from django.db import OperationalError, connection
from django.db.models import F

from ingestion_progress import attach, track
from ingestion_progress.exceptions import InvalidCount, JobCancelled
from ingestion_progress.models import Checkpoint, Job, JobEvent, Stage
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import keys, request_cancellation
from ingestion_progress.tracker.database import jobs
from ingestion_progress.tracker.sql import write_changes
from ingestion_progress.wire.snapshots import load_snapshot
from tests.support.tracking import progress

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TASK = "ingestion_progress.pipeline.tasks.ingest_document"


@pytest.fixture(autouse=True)
def tracking():
    with synchronous_tracking():
        yield


def tracked(**options):
    return track("a.pdf", job_id="job", stages=["one"], **options)


def counts() -> tuple[int, int, int]:
    stage = Stage.objects.get(job="job", name="one")
    return stage.processed, stage.total, stage.failed


def stop_after(n: int, items, *, key=True, **options) -> list:
    """The items that an attempt did before its process was stopped."""
    done = []
    with pytest.raises(SystemExit), tracked(task=TASK, **options) as job:
        for item in job.stage("one").iterate(items, key=key):
            if len(done) == n:
                raise SystemExit
            done.append(item)
    return done


def test_a_key_counts_once():
    with tracked() as job:
        stage = job.stage("one")
        for key in (1, 2, 2, "a", "a", 1):
            stage.advance(key=key)
        assert counts() == (3, 0, 0)
        with attach("job") as other:  # which does not know what was reported
            other.stage("one").advance(key="a")
            other.stage("one").advance(key=3)
    assert counts() == (4, 0, 0)


def test_an_attempt_continues_where_the_last_one_stopped():
    assert stop_after(3, range(5)) == [0, 1, 2]
    assert (Job.objects.get().status, counts()) == ("queued", (3, 5, 0))
    with tracked() as job:
        assert list(job.stage("one").iterate(range(5), key=True)) == [3, 4]
    assert counts() == (5, 5, 0)
    assert Job.objects.get().status == "succeeded"


def test_keys_are_made_from_items():
    pages = [{"name": "i"}, {"name": "ii"}]
    stop_after(1, pages, key=lambda page: page["name"])
    with tracked() as job:
        stage = job.stage("one")
        assert list(stage.iterate(pages, key=lambda page: page["name"])) == [{"name": "ii"}]
    assert Checkpoint.objects.get().keys == ["i", "ii"]


def test_a_resumed_attempt_shows_the_percentage_of_what_is_done():
    stop_after(3, range(4))
    assert progress("job").overall_progress_percent == 75


def test_it_is_known_which_keys_are_done():
    stop_after(2, range(5))
    with tracked() as job:
        stage = job.stage("one")
        assert stage.is_done(1)
        assert not stage.is_done(2)
        stage.advance(key=2)
        assert stage.is_done(2)


def test_keys_that_another_process_reports_are_known_once_they_are_read_again():
    with tracked() as job:
        stage = job.stage("one")
        assert not stage.is_done(1)
        with attach("job") as other:
            other.stage("one").advance(key=1)
        assert not stage.is_done(1)
        stage.reload_keys()
        assert stage.is_done(1)


def test_a_key_that_is_reported_again_leaves_nothing_to_write(flush_only):
    with track("a.pdf", job_id="job", stages=["one"]) as job:
        stage = job.stage("one")
        for report in (stage.advance, partial(stage.record_error, "odd")):
            report(key=str(report))
            assert job.buffer.take()
            stage.advance(key=str(report))
            assert not job.buffer.take()


def test_done_keys_are_read_with_one_query(django_assert_num_queries):
    stop_after(2, range(5))
    with tracked() as job:
        stage = job.stage("one")
        stage.start()
        with django_assert_num_queries(1):
            assert [stage.is_done(n) for n in range(3)] == [True, True, False]


def test_a_key_that_is_reported_before_the_others_are_read_is_known():
    stop_after(2, range(5))
    with tracked() as job:
        stage = job.stage("one")
        stage.advance(key=4)
        assert [n for n in range(5) if stage.is_done(n)] == [0, 1, 4]
    assert counts()[0] == 3


def test_a_failed_item_counts_is_not_done_and_is_tried_again():
    with pytest.raises(SystemExit), tracked(task=TASK) as job:
        stage = job.stage("one")
        for n in stage.iterate(range(3), key=True):
            if n == 1:
                stage.record_error("broken", key=n)
        assert counts() == (3, 3, 1)
        assert not stage.is_done(1)
        raise SystemExit
    assert counts() == (2, 3, 0)
    assert JobEvent.objects.get(message="broken").item == "1"
    with tracked() as job:
        assert list(job.stage("one").iterate(range(3), key=True)) == [1]
    assert counts() == (3, 3, 0)


def test_a_failed_item_is_named_by_its_key_or_as_it_is_said():
    with tracked() as job:
        job.stage("one").record_error("broken", key=7)
        job.stage("one").record_error("broken", key=8, item="page 8")
    items = JobEvent.objects.filter(level="error").order_by("pk").values_list("item", flat=True)
    assert list(items) == ["7", "page 8"]


def test_the_first_report_of_a_key_in_an_attempt_counts():
    with tracked() as job, attach("job") as other:
        first, second = job.stage("one"), other.stage("one")
        first.advance(key="a")
        second.record_error("broken", key="a")
        first.record_error("broken", key="b")
        second.advance(key="b")
        second.record_error("broken", key="b")
    assert counts() == (2, 0, 1)
    checkpoint = Checkpoint.objects.get()
    assert (checkpoint.keys, checkpoint.failed) == (["a"], ["b"])


def test_a_key_is_reported_as_done_or_as_failed(flush_only):
    with tracked() as job:
        stage = job.stage("one")
        stage.advance(key=1)
        stage.record_error("broken", key=1)
        stage.record_error("broken", key=2)
        pending = job.buffer.changes.stages["one"].keys
        assert (pending.done.ranges, pending.failed) == ([[1, 1]], {2})
    assert counts() == (2, 0, 1)


def test_failed_keys_of_another_process_are_cut_out_of_a_range():
    with tracked() as job, attach("job") as other:
        other.stage("one").record_error("broken", key=5)
        with job.buffer.lock:
            pending = job.buffer.changes.stages["one"].keys
            for key in range(4, 7):
                pending.add(key, has_failed=False)
        job.flush()
    assert Checkpoint.objects.get().ranges == [[4, 4], [6, 6]]
    assert counts() == (3, 0, 1)


def test_a_cancelled_iteration_does_not_count_the_next_item():
    with pytest.raises(JobCancelled), tracked() as job:
        for n in job.stage("one").iterate(range(5), key=True):
            if n == 1:
                request_cancellation("job")
    with tracked(restart=True) as job:
        assert list(job.stage("one").iterate(range(5), key=True)) == [2, 3, 4]


def test_a_new_version_of_the_document_forgets_keys_and_totals():
    stop_after(3, range(5), document_version="v1")
    with tracked(document_version="v2") as job:
        assert counts() == (0, 0, 0)
        assert list(job.stage("one").iterate("ab", key=True)) == ["a", "b"]
    assert counts() == (2, 2, 0)


def test_a_new_version_forgets_counts_of_stages_that_were_declared_before():
    stop_after(3, range(5), document_version="v1")
    with track("a.pdf", job_id="job", document_version="v2"):
        assert counts() == (0, 0, 0)


def test_a_restart_forgets_keys_after_a_success_only():
    with pytest.raises(ZeroDivisionError), tracked() as job:
        job.stage("one").advance(key=1)
        raise ZeroDivisionError
    with tracked(restart=True) as job:
        assert job.stage("one").is_done(1)
    with tracked(restart=True) as job:
        assert not job.stage("one").is_done(1)
        assert counts() == (0, 0, 0)


def test_a_total_that_is_grown_again_stays_the_same():
    def ingest(*parts):
        with tracked(task=TASK) as job:
            stage = job.stage("one")
            for part in parts:
                stage.grow(len(part))
                list(stage.iterate(part, key=True))
            raise SystemExit

    with pytest.raises(SystemExit):
        ingest("abc", "defg")
    for parts, total in [(["ab"], 7), (["abc", "defg"], 7), (["abc", "defg", "hi"], 9)]:
        with pytest.raises(SystemExit):
            ingest(*parts)
        assert counts() == (total, total, 0)


def test_a_total_that_is_set_replaces_that_of_the_former_attempt():
    stop_after(3, range(9))
    with tracked() as job:
        stage = job.stage("one", total=5)
        stage.grow(1)
        assert counts() == (3, 6, 0)
        stage.grow(2)
    assert counts() == (3, 8, 0)


def test_keys_of_a_stage_are_those_of_no_other():
    with track("a.pdf", stages=["one", "two"]) as job:
        job.stage("one").advance(key=1)
        assert not job.stage("two").is_done(1)
        job.stage("two").advance(key=1)
    assert {stage.processed for stage in load_snapshot(job.job_id).stages} == {1}


def test_counts_without_a_key_are_added_and_not_remembered():
    with pytest.raises(SystemExit), tracked(task=TASK) as job:
        job.stage("one").advance(key=1)
        job.stage("one").advance(4)
        assert counts()[0] == 5
        raise SystemExit
    assert counts()[0] == 1


def test_processed_is_either_set_or_counted_by_keys():
    with track("a.pdf", stages=["one", "two"]) as job:
        one, two = job.stage("one"), job.stage("two")
        one.advance(key=1)
        one.set(total=3, in_flight=1)
        with pytest.raises(InvalidCount, match="'one': processed is either set, or counted by"):
            one.set(processed=1)
        two.set(processed=1)
        with pytest.raises(InvalidCount, match="'two': processed is either set"):
            two.advance(key=1)
        with pytest.raises(InvalidCount, match="n is 2; a key counts as one"):
            one.advance(2, key=5)


def test_keys_beyond_the_limit_count_and_are_logged_once(monkeypatch):
    monkeypatch.setattr(keys, "MAX_TEXT_KEYS", 2)
    assert stop_after(4, "abcdef") == ["a", "b", "c", "d"]
    assert counts() == (2, 6, 0)
    with tracked() as job:
        assert list(job.stage("one").iterate("abcdef", key=True)) == ["c", "d", "e", "f"]
    assert counts() == (6, 6, 0)
    assert Job.objects.get().event_count == JobEvent.objects.count()
    (line,) = JobEvent.objects.filter(level="warning", stage="one")
    assert line.message.startswith("More keys than are remembered (10,000 texts")


def test_keys_beyond_the_limit_are_logged_once_for_each_stage(monkeypatch):
    monkeypatch.setattr(keys, "MAX_TEXT_KEYS", 1)
    with track("a.pdf", stages=["one", "two"]) as job:
        for stage in ("one", "two"):
            list(job.stage(stage).iterate("abc", key=True))
    lines = JobEvent.objects.filter(level="warning").order_by("pk")
    assert [line.stage for line in lines] == ["one", "two"]


def test_failed_keys_beyond_the_limit_are_done_again(monkeypatch):
    monkeypatch.setattr("ingestion_progress.tracker.checkpoints.MAX_FAILED_KEYS", 1)
    with pytest.raises(SystemExit), tracked(task=TASK) as job:
        stage = job.stage("one")
        for letter in stage.iterate("abc", key=True):
            stage.record_error("broken", key=letter)
        assert counts() == (3, 3, 3)
        assert Checkpoint.objects.get().failed == ["a"]
        raise SystemExit
    with tracked() as job:
        assert list(job.stage("one").iterate("abc", key=True)) == ["a", "b", "c"]


async def test_async_iteration_skips_what_is_done():
    async def letters():
        for letter in "abc":
            yield letter

    async with track("a.pdf", job_id="async", stages=["one"]) as job:
        stage = job.stage("one")
        stage.advance(key="b")
        assert [each async for each in stage.aiterate(letters(), key=True)] == ["a", "c"]
        assert [each async for each in stage.aiterate("abcd", key=True)] == ["d"]
        await job.aflush()
        with attach("async") as other:  # which has to read what is done
            again = other.stage("one").aiterate(letters(), key=True)
            assert [each async for each in again] == []


@pytest.mark.usefixtures("flush_only")
class TestFlush:
    def test_a_write_that_fails_loses_no_key(self):
        def refuse(*_):
            raise OperationalError("down")

        with tracked() as job:
            stage = job.stage("one")
            job.flush()
            stage.advance(key=1)
            stage.record_error("broken", key="x")
            with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
                job.buffer.flush()
            stage.advance(key=2)
            job.flush()
            assert counts() == (3, 0, 1)
            assert Checkpoint.objects.get().ranges == [[1, 2]]

    def test_a_write_whose_commit_is_unknown_counts_no_key_twice(self):
        def write_and_lose_the_answer(*args):
            write_changes(*args)
            raise OperationalError("the connection broke during COMMIT")

        with tracked() as job:
            stage = job.stage("one")
            for key in (1, 2, "a"):
                stage.advance(key=key)
            stage.record_error("broken", key=3)
            with pytest.raises(OperationalError):
                job.buffer.write(write_and_lose_the_answer)
            stage.advance(key=4)
            job.flush()
            assert counts() == (5, 0, 1)

    def test_keys_of_a_superseded_attempt_are_dropped(self):
        with pytest.raises(Exception, match="started again"), tracked() as old:
            old.stage("one").advance(key=1)
            jobs().update(epoch="another", attempt=F("attempt") + 1)
            old.flush()
        assert not Checkpoint.objects.exists()

    def test_done_keys_are_those_that_are_written(self):
        with tracked() as job:
            job.stage("one").advance(key=1)
            job.flush()
            job.stage("one").advance(key=2)
            with attach("job") as other:
                assert other.stage("one").is_done(1)
                assert not other.stage("one").is_done(2)
