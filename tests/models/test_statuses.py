from __future__ import annotations

import pytest

from ingestion_progress.models.statuses import JobStatus, StageStatus


@pytest.mark.parametrize("status", [status for status in JobStatus if status.is_final])
def test_a_final_job_status_is_left_by_nothing(status):
    assert all(status not in other.predecessors for other in JobStatus)


def test_only_a_running_job_can_succeed():
    assert JobStatus.SUCCEEDED.predecessors == {JobStatus.RUNNING}


def test_every_stage_status_but_the_first_can_be_reached():
    assert all(status.predecessors for status in StageStatus if status is not StageStatus.PENDING)


def test_a_completed_stage_never_goes_back():
    assert StageStatus.COMPLETED not in StageStatus.successors()


def test_the_clock_of_a_stage_stops_at_its_endings_only():
    assert {status for status in StageStatus if status.is_ending} == {
        StageStatus.COMPLETED,
        StageStatus.ERROR,
        StageStatus.SKIPPED,
    }


def test_each_status_has_its_predecessors():
    active = {JobStatus.QUEUED, JobStatus.RUNNING}
    assert {status: status.predecessors for status in JobStatus} == {
        JobStatus.QUEUED: set(),
        JobStatus.RUNNING: {JobStatus.QUEUED},
        JobStatus.SUCCEEDED: {JobStatus.RUNNING},
        JobStatus.FAILED: active,
        JobStatus.CANCELLED: active,
        JobStatus.LOST: active,
    }
    pending, running, error = StageStatus.PENDING, StageStatus.IN_PROGRESS, StageStatus.ERROR
    assert {status: status.predecessors for status in StageStatus} == {
        pending: set(),
        running: {pending, error},
        error: {pending, running},
        StageStatus.COMPLETED: {pending, running, error},
        StageStatus.SKIPPED: {pending, running, error},
    }


def test_job_is_active_until_its_final_status():
    assert JobStatus.active() == {JobStatus.QUEUED, JobStatus.RUNNING}
    assert JobStatus.final() == set(JobStatus) - JobStatus.active()
    assert [status for status in JobStatus if status.has_succeeded] == [JobStatus.SUCCEEDED]
