"""What ingestion tasks may pass in."""

from __future__ import annotations

import pytest

from ingestion_progress.exceptions import InvalidCount
from ingestion_progress.tracker.plan import (
    MAX_COUNT,
    MAX_POOL_SIZE,
    MAX_SMALL_COUNT,
    SMALL_COUNTS,
    JobPlan,
    checked_count,
    checked_counter_names,
    clean_text,
    stage_weights,
    task_path,
)


@pytest.mark.parametrize("value", [-1, 1.5, "3", None, 2**53])
def test_invalid_count_is_refused_with_its_name(value):
    with pytest.raises(InvalidCount, match="processed is "):
        checked_count("processed", value)


def test_largest_counts_are_those_of_the_columns():
    assert (MAX_COUNT, MAX_SMALL_COUNT) == (2**53 - 1, 2**31 - 1)
    for name in ("total_chunks", "total_images", "pool_size", "queue_depth", "in_flight"):
        assert name in SMALL_COUNTS
        assert checked_count(name, MAX_SMALL_COUNT) == MAX_SMALL_COUNT
        with pytest.raises(InvalidCount, match=f"from 0 to {MAX_SMALL_COUNT}"):
            checked_count(name, MAX_SMALL_COUNT + 1)
    assert checked_count("processed", MAX_COUNT) == MAX_COUNT
    assert checked_count("processed", 0) == 0


def test_pool_has_a_largest_size():
    assert JobPlan("a.pdf", workers=MAX_POOL_SIZE).workers == MAX_POOL_SIZE == 10_000
    with pytest.raises(ValueError, match="at most 10000 workers, not 10001"):
        JobPlan("a.pdf", workers=MAX_POOL_SIZE + 1)
    for wrong in ({"workers": -1}, {"total_chunks": -1}, {"total_images": 2**31}):
        with pytest.raises(InvalidCount, match=next(iter(wrong))):
            JobPlan("a.pdf", **wrong)


def test_longest_names_are_kept():
    assert checked_counter_names({"x" * 64, "y"}) == {"x" * 64, "y"}
    assert len(checked_counter_names({f"c{n}" for n in range(50)})) == 50
    assert stage_weights(["x" * 64, "y"]) == {"x" * 64: 10, "y": 10}
    assert len(stage_weights([f"s{n}" for n in range(100)])) == 100
    assert clean_text("x" * 5, 5) == "x" * 5
    assert clean_text("x" * 6, 5) == "xxxx…"


@pytest.mark.parametrize(
    "stages", [[" one"], ["one "], [1], {"one": float("inf")}, {"one": -1}, {"one": 0}]
)
def test_stage_with_a_wrong_name_or_weight_is_refused(stages):
    with pytest.raises(ValueError, match=r"cannot name a stage|must be above 0"):
        stage_weights(stages)


def test_weights_are_kept_and_small_ones_are_allowed():
    assert stage_weights({"b": 0.001, "a": 1e9}) == {"b": 0.001, "a": 1e9}
    assert list(stage_weights({"b": 2, "a": 1})) == ["b", "a"]


class QueuedTask:
    """As Celery's: an object whose `run` is the function."""

    def __init__(self, name: str, function: object) -> None:
        setattr(self, name, function)


@pytest.mark.parametrize(
    ("task", "path"),
    [
        ("", ""),
        ("shop.tasks.ingest", "shop.tasks.ingest"),
        (clean_text, "ingestion_progress.tracker.plan.clean_text"),
        (QueuedTask("run", clean_text), "ingestion_progress.tracker.plan.clean_text"),
        (QueuedTask("func", clean_text), "ingestion_progress.tracker.plan.clean_text"),
        (JobPlan.__init__, "ingestion_progress.tracker.plan.JobPlan.__init__"),
    ],
)
def test_task_is_stored_as_the_path_of_its_function(task, path):
    assert task_path(task) == path


@pytest.mark.parametrize("task", [lambda job_id: None, eval("lambda job_id: None")])
def test_task_that_cannot_be_imported_is_refused(task):
    with pytest.raises(ValueError, match="at the top of a module"):
        task_path(task)


@pytest.mark.parametrize("priority", [-101, 101])
def test_priority_is_limited(priority):
    assert [JobPlan("a.pdf", priority=n).priority for n in (-100, 100)] == [-100, 100]
    with pytest.raises(ValueError, match="from -100 to 100"):
        JobPlan("a.pdf", priority=priority)
