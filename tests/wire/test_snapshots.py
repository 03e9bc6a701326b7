from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingestion_progress.models import Job, Stage, Worker
from ingestion_progress.models.stages import plan_percent
from ingestion_progress.models.statuses import JobStatus, StageStatus, WorkerStatus
from ingestion_progress.tracker import queue_job
from ingestion_progress.wire.snapshots import (
    Snapshot,
    load_snapshot,
    load_snapshots,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def snapshot(*stages: Stage, workers: tuple[Worker, ...] = (), **job) -> Snapshot:
    fields = {"id": "job", "status": JobStatus.RUNNING, "started_at": NOW, "heartbeat_at": NOW}
    fields["updated_at"] = NOW
    return Snapshot(job=Job(**fields | job), stages=stages, workers=workers)


def stage(name="one", **fields) -> Stage:
    return Stage(name=name, **{"position": 0, "weight": 1, "total": 10} | fields)


def test_a_running_stage_shows_its_time_so_far_and_an_ended_one_its_length():
    shown = snapshot(
        stage("waits"),
        stage("runs", started_at=NOW),
        stage(
            "ended",
            status=StageStatus.COMPLETED,
            started_at=NOW,
            finished_at=NOW + timedelta(seconds=2),
        ),
    ).progress(NOW + timedelta(seconds=5))
    durations = [stage.duration_ms for stage in shown.stages.values()]
    assert durations == [0, 5000, 2000]


def test_duration_is_never_negative_where_a_clock_is_behind():
    ahead = NOW + timedelta(seconds=2)
    shown = snapshot(
        stage("runs", started_at=ahead),
        stage("ended", status=StageStatus.COMPLETED, started_at=ahead, finished_at=NOW),
        started_at=ahead,
    ).progress(NOW)
    assert [stage.duration_ms for stage in shown.stages.values()] == [0, 0]
    assert shown.timing.elapsed_ms == 0


def test_stages_keep_their_order_and_skipped_ones_are_left_out():
    taken = snapshot(stage("z"), stage("y", status=StageStatus.SKIPPED), stage("a"))
    assert list(taken.progress(NOW).stages) == ["z", "a"]
    assert taken.state(NOW).skipped_stages == ["y"]


def test_everything_counted_is_not_yet_success():
    counted = snapshot(stage(processed=10))
    assert counted.progress(NOW).stages["one"].progress_percent == 100
    assert counted.overall_percent == 99.9


def test_stage_and_job_show_the_tenth_that_they_have_reached():
    counted = snapshot(stage(processed=29, total=100)).progress(NOW)
    assert counted.stages["one"].progress_percent == counted.overall_progress_percent == 29


def test_success_is_100_percent_and_ends_the_clock():
    ended = snapshot(
        stage(status=StageStatus.COMPLETED),
        status=JobStatus.SUCCEEDED,
        finished_at=NOW + timedelta(seconds=3),
    ).progress(NOW + timedelta(hours=1))
    assert ended.overall_progress_percent == 100
    assert ended.timing.elapsed_ms == 3000
    assert ended.timing.estimated_remaining_ms == 0


def test_a_failed_job_keeps_what_it_had_reached():
    failed = snapshot(
        stage(processed=4), status=JobStatus.FAILED, finished_at=NOW, error="No more disk."
    )
    assert failed.overall_percent == 40
    assert failed.state(NOW).error == "No more disk."
    assert failed.state(NOW).liveness is None


def test_only_a_success_with_failed_items_names_its_result():
    for status, failed_items, named in (
        (JobStatus.SUCCEEDED, 2, {"failed_items": 2, "result": "partial"}),
        (JobStatus.SUCCEEDED, 0, {}),
        (JobStatus.FAILED, 2, {"failed_items": 2}),
        (JobStatus.RUNNING, 2, {"failed_items": 2}),
    ):
        sent = snapshot(status=status, failed_items=failed_items).state(NOW).model_dump()
        assert {key: sent[key] for key in ("failed_items", "result") if key in sent} == named


@pytest.mark.parametrize("status", sorted(JobStatus.final()))
def test_a_job_that_has_ended_has_no_time_left(status):
    ended_at = NOW + timedelta(seconds=10)
    ended = snapshot(stage(processed=5), status=status, finished_at=ended_at)
    timing = ended.progress(NOW + timedelta(hours=1)).timing
    assert (timing.elapsed_ms, timing.estimated_remaining_ms) == (10_000, 0)


def test_the_percentage_never_falls_below_what_was_reached():
    assert snapshot(stage(processed=1), reached_percent=55.5).overall_percent == 55.5


def test_an_estimate_extrapolates_the_mean_speed():
    after = NOW + timedelta(seconds=10)
    timing = (
        snapshot(stage(processed=2), updated_at=after, heartbeat_at=after).progress(after).timing
    )
    assert timing.started_at == NOW.timestamp()
    assert timing.estimated_remaining_ms == 40_000


@pytest.mark.parametrize(
    "times", [{"heartbeat_at": NOW}, {"heartbeat_at": NOW + timedelta(minutes=10)}]
)
def test_nothing_is_estimated_for_a_job_that_is_lost_or_stalled(times):
    still = snapshot(stage(processed=2), updated_at=NOW, **times)
    timing = still.progress(NOW + timedelta(minutes=10)).timing
    assert (timing.elapsed_ms, timing.estimated_remaining_ms) == (600_000, 0)


@pytest.mark.parametrize(
    ("processed", "total", "is_complete"), [(3, 10, False), (10, 10, True), (3, 0, True)]
)
def test_completed_stage_says_whether_all_was_processed(processed, total, is_complete):
    completed = stage(processed=processed, total=total, status=StageStatus.COMPLETED)
    shown = snapshot(completed, status=JobStatus.SUCCEEDED, finished_at=NOW).progress(NOW)
    one = shown.stages["one"]
    assert (one.processed, one.total, one.progress_percent) == (processed, total, 100)
    assert one.is_complete is is_complete


def test_a_queued_job_has_no_times():
    timing = snapshot(stage(), status=JobStatus.QUEUED, started_at=None).progress(NOW).timing
    assert (timing.started_at, timing.elapsed_ms) == (0, 0)


def test_active_workers_are_those_that_process():
    pool = (
        snapshot(
            workers=(
                Worker(number=1, status=WorkerStatus.PROCESSING, current_chunk="c-1"),
                Worker(number=2),
                Worker(number=3, status=WorkerStatus.ERROR),
            ),
            pool_size=3,
        )
        .progress(NOW)
        .worker_pool
    )
    assert (pool.active, pool.max) == (1, 3)
    assert [worker.current_chunk for worker in pool.workers] == ["c-1", None, None]


def test_every_field_is_that_of_its_column():
    ended_at = NOW + timedelta(seconds=4)
    numbers = {
        "total_chunks": 1, "total_images": 2, "entities_total": 3, "relations_total": 4,
        "neo4j_writes": 5, "qdrant_writes": 6, "queue_depth": 7, "pool_size": 8,
        "attempt": 9, "error_count": 10,
    }  # fmt: skip
    taken = snapshot(
        stage("one", status=StageStatus.IN_PROGRESS, processed=3, total=8, in_flight=2,
              started_at=NOW),
        stage("two", status=StageStatus.ERROR, processed=9, total=8),
        workers=(Worker(number=3, status=WorkerStatus.PROCESSING, current_chunk="c",
                        progress_percent=12.39),),
        document_id="d", document_name="d.pdf", counters={"pages": 11}, cancel_requested_at=NOW,
        reached_percent=50, updated_at=ended_at, **numbers,
    )  # fmt: skip

    assert taken.progress(ended_at).model_dump() == {
        "document_id": "d",
        "document_name": "d.pdf",
        "total_chunks": 1,
        "total_images": 2,
        "stages": {
            "one": {
                "name": "one", "status": "in_progress", "processed": 3, "total": 8,
                "in_flight": 2, "progress_percent": 37.5, "duration_ms": 4000,
                "is_complete": False,
            },
            "two": {
                "name": "two", "status": "error", "processed": 9, "total": 9, "in_flight": 0,
                "progress_percent": 100.0, "duration_ms": 0, "is_complete": False,
            },
        },
        "worker_pool": {
            "active": 1,
            "max": 8,
            "queue_depth": 7,
            "workers": [
                {"id": 3, "status": "processing", "current_chunk": "c", "progress_percent": 12.3}
            ],
        },
        "metrics": {
            "entities_total": 3, "relations_total": 4, "neo4j_writes": 5, "qdrant_writes": 6,
        },
        "timing": {
            "started_at": NOW.timestamp(), "elapsed_ms": 4000, "estimated_remaining_ms": 1822,
        },
        "overall_progress_percent": 68.7,
    }  # fmt: skip
    assert taken.state(NOW).model_dump() == {
        "job_id": "job", "status": "running", "liveness": "working", "attempt": 9,
        "cancel_requested": True, "skipped_stages": [], "error_count": 10, "error": None,
        "counters": {"pages": 11},
    }  # fmt: skip
    assert taken.forecast(ended_at).model_dump() == {
        "job_id": "job", "likely_ms": 1822, "low_ms": 521, "high_ms": 6378, "former_jobs": 0,
        "reason": "no_history",
    }  # fmt: skip


def test_percentage_of_a_job_counts_planned_stages_only():
    stages = (
        stage("one", processed=5),
        stage("two", weight=3, status=StageStatus.COMPLETED),
        stage("three", weight=96, status=StageStatus.SKIPPED),
    )

    assert plan_percent(stages) == 87.5


def test_pool_is_never_smaller_than_its_workers():
    workers = tuple(Worker(number=number) for number in (1, 2, 5))
    for pool_size, size in ((0, 3), (2, 3), (4, 4)):
        pool = snapshot(workers=workers, pool_size=pool_size).progress(NOW).worker_pool
        assert (pool.max, len(pool.workers)) == (size, 3)


def test_a_resume_point_moves_with_every_write_and_every_attempt_and_is_never_repeated():
    states = [
        {"epoch": "a", "revision": 1, "updated_at": NOW},
        {"epoch": "a", "revision": 2, "updated_at": NOW},
        {"epoch": "b", "revision": 1, "updated_at": NOW},
        # written after a backup with revision 0 was restored
        {"epoch": "a", "revision": 1, "updated_at": NOW + timedelta(milliseconds=1)},
    ]
    assert len({snapshot(**state).cursor for state in states}) == len(states)


@pytest.mark.django_db
@pytest.mark.database
def test_any_number_of_jobs_is_loaded_with_three_queries(django_assert_num_queries):
    ids = [queue_job("a.pdf", stages=["one", "two"], workers=3).pk for _ in range(20)]
    with django_assert_num_queries(3):
        loaded = load_snapshots(Job.objects.filter(pk__in=ids))
    assert set(loaded) == set(ids)
    assert all(len(taken.stages) == 2 for taken in loaded.values())
    assert all([w.number for w in taken.workers] == [1, 2, 3] for taken in loaded.values())


@pytest.mark.django_db
def test_there_is_no_snapshot_of_what_does_not_exist():
    assert load_snapshot("nothing") is None


def test_state_names_the_units_of_the_stages_that_have_one():
    taken = snapshot(stage("parsing", unit="pages"), stage("tidying"))
    assert taken.state(NOW).units == {"parsing": "pages"}
    assert "units" not in snapshot(stage("tidying")).state(NOW).model_dump()
