"""What may be said of how many items a stage has, and what is shown of it."""

from __future__ import annotations

import threading

import pytest

from ingestion_progress import attach, track
from ingestion_progress.exceptions import InvalidCount
from ingestion_progress.models import Stage
from ingestion_progress.wire.snapshots import load_snapshot
from tests.support.tracking import eventually, progress, quick_writer  # noqa: F401  (the fixture of all)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def test_counts_below_zero_or_above_the_total_are_refused():
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one", total=5)
        with pytest.raises(InvalidCount, match="n is -1"):
            stage.advance(-1)
        for total in (5, 1):
            with pytest.raises(InvalidCount, match=f"above its total of {total}"):
                stage.set(processed=total + 1, total=total)
        stage.set(processed=6, total=6)
        for wrong in (-1, 101, float("nan")):
            with pytest.raises(InvalidCount, match="from 0 to 100"):
                job.worker(1).progress(wrong)
        with pytest.raises(InvalidCount, match="tables is -2"):
            job.count(tables=-2)


def test_a_count_that_is_set_replaces_what_was_counted_before_it(flush_only):
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one")
        stage.advance(5)
        stage.set(processed=3)
        stage.advance(2)
        job.flush()
        assert load_snapshot(job.job_id).stages[0].processed == 5


def test_a_total_that_has_grown_bounds_what_may_be_set():
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one", total=5)
        stage.grow(5)
        with pytest.raises(InvalidCount, match="processed is 11, above its total of 10"):
            stage.set(processed=11)
        stage.set(processed=10)
    assert load_snapshot(job.job_id).stages[0].processed == 10


def test_a_total_below_what_was_set_as_processed_is_refused_and_changes_nothing():
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one")
        stage.set(processed=6)
        with pytest.raises(InvalidCount, match="processed is 6, above its total of 5"):
            job.stage("one", total=5)
        stage.set(total=0)  # unknown again
        stage.set(processed=2, total=5)
        stage.set(total=3)
    state = load_snapshot(job.job_id).stages[0]
    assert (state.processed, state.total) == (2, 3)


def test_iteration_keeps_a_total_that_several_trackers_have_grown():
    with track("a.pdf", stages=["one"]) as job:
        for part in ([1, 2], [3, 4, 5]):
            with attach(job.job_id) as worker:
                stage = worker.stage("one")
                stage.grow(len(part))
                assert list(stage.iterate(part)) == part
        recorded = load_snapshot(job.job_id).stages[0]
        assert (recorded.processed, recorded.total) == (5, 5)


def test_a_total_that_was_only_grown_or_set_by_another_process_is_not_checked():
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one")
        stage.grow(5)
        stage.set(processed=6)
        job.flush()
        with attach(job.job_id) as other:
            other.stage("one").set(total=4)
            other.stage("one").set(processed=4)
            other.stage("one").advance(3)
        shown = progress(job.job_id).stages["one"]
        assert (shown.processed, shown.total, shown.progress_percent) == (7, 7, 100)


def test_all_that_threads_add_to_a_total_at_once_is_known():
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one", total=1)
        threads = [
            threading.Thread(target=lambda: [stage.grow(1) for _ in range(1000)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stage.set(processed=4001)
        with pytest.raises(InvalidCount):
            stage.set(processed=4002)


def test_what_was_set_as_processed_counts_towards_the_total_of_an_iteration():
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one")
        stage.set(processed=60)
        assert len(list(stage.iterate(range(40)))) == 40
    state = load_snapshot(job.job_id).stages[0]
    assert (state.processed, state.total) == (100, 100)


def test_more_done_than_expected_raises_the_shown_total():
    with track("a.pdf", stages=["one"]) as job:
        job.stage("one", total=2).advance(5)
        job.flush()
        assert progress(job.job_id).stages["one"].total == 5


def test_a_total_that_grows_late_never_lowers_the_percentage():
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one", total=2)
        stage.advance()
        job.flush()
        assert progress(job.job_id).overall_progress_percent == 50
        stage.grow(98)
        job.flush()
        shown = progress(job.job_id)
        assert shown.stages["one"].total == 100
        assert shown.overall_progress_percent == 50


def test_items_in_flight_are_counted_while_their_block_runs():
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one", total=2)
        with stage.in_flight(), stage.in_flight(2):
            job.flush()
            assert progress(job.job_id).stages["one"].in_flight == 3
        job.flush()
        assert progress(job.job_id).stages["one"].in_flight == 0


def test_counters_of_the_pipeline_are_written_when_nothing_else_has_changed():
    with track("a.pdf", stages=["one"]) as job:
        for n in (1, 2):
            job.count(tables=1)
            eventually(lambda n=n: load_snapshot(job.job_id).job.counters == {"tables": n})


def test_item_of_a_stage_that_was_completed_elsewhere_takes_no_count_below_zero(settings):
    settings.INGESTION_PROGRESS_FLUSH_INTERVAL_SECONDS = 60
    with track("a.pdf", stages=["one"]) as job:
        stage = job.stage("one")
        with stage.in_flight():
            job.flush()
            with attach(job.job_id) as other:
                other.stage("one").complete()
            assert Stage.objects.get().in_flight == 0
        stage.advance(3)
        job.flush()
        row = Stage.objects.get()
        assert (row.in_flight, row.processed) == (0, 3)
