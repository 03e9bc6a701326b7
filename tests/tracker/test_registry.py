"""Which trackers a process keeps between calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingestion_progress.exceptions import JobNotFound
from ingestion_progress.models import Job
from ingestion_progress.testing import InlineWriter
from ingestion_progress.tracker.buffer import Buffer
from ingestion_progress.tracker.contexts import AttachedJob
from ingestion_progress.tracker.lifecycle import fail_job, start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.tracker.registry import TrackerRegistry
from ingestion_progress.tracker.writer import use_writer

pytestmark = [pytest.mark.django_db, pytest.mark.database]


class Closing(InlineWriter):
    """Notes the buffers whose jobs this process leaves."""

    def __init__(self) -> None:
        self.closed: list[Buffer] = []

    def close(self, buffer: Buffer) -> None:
        self.closed.append(buffer)


@pytest.fixture
def writer() -> Iterator[Closing]:
    writer = Closing()
    before = use_writer(writer)
    yield writer
    use_writer(before)


@pytest.fixture
def registry(writer) -> TrackerRegistry:
    return TrackerRegistry()


def joined(job_id: str = "job") -> AttachedJob:
    tracker = AttachedJob(job_id)
    tracker.start()
    return tracker


def start(job_id: str = "job", *, restart: bool = False) -> None:
    start_attempt(JobPlan("a.pdf", job_id=job_id), restart=restart)


def test_a_tracker_is_joined_once_for_each_attempt(registry, writer):
    start()
    first = registry.get("job")
    assert registry.get("job") is first
    assert registry.kept("job") is first
    start(restart=True)
    again = registry.join("job")
    assert again is not first
    assert registry.get("job") is again
    assert writer.closed == [first.buffer]


def test_of_two_trackers_of_an_attempt_the_first_is_kept(registry, writer):
    start()
    first, second = joined(), joined()
    assert registry.keep(first) is first
    assert registry.keep(second) is first
    assert registry.kept("job") is first
    assert writer.closed == [second.buffer]


def test_a_tracker_whose_attempt_is_over_is_replaced(registry):
    start()
    first = registry.get("job")
    start(restart=True)
    assert registry.get("job") is first  # this process does not know yet
    first.buffer.is_over = True
    assert registry.get("job") is not first


def test_trackers_of_ended_attempts_are_forgotten_when_another_is_kept(registry, writer):
    for name in ("ended", "runs", "new"):
        start(name)
    ended, runs = registry.get("ended"), registry.get("runs")
    ended.buffer.is_over = True
    registry.get("new")
    assert registry.kept("ended") is None
    assert registry.kept("runs") is runs
    assert writer.closed == [ended.buffer]


def test_a_tracker_that_is_removed_leaves_its_job(registry, writer):
    start()
    tracker = registry.get("job")
    registry.remove("job")
    registry.remove("job")
    assert registry.kept("job") is None
    assert writer.closed == [tracker.buffer]


def test_a_job_that_does_not_exist_is_an_error_that_names_some_that_run(registry):
    for number in range(7):
        start(f"run-{number}")
    fail_job("run-0", "No text.")
    with pytest.raises(JobNotFound) as error:
        registry.get("rum-1")
    assert str(error.value).count("run-") == 5
    assert "run-0" not in str(error.value)
    assert Job.objects.count() == 7
