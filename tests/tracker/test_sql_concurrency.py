"""Writes of two connections to one job, and the sign of life in each."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from ingestion_progress import track
from ingestion_progress.models import Job, Worker
from ingestion_progress.models.statuses import JobStatus, WorkerStatus
from ingestion_progress.tracker.changes import JobChanges, WorkerChange
from ingestion_progress.tracker.endings import finish_attempt
from ingestion_progress.tracker.plan import Attempt
from ingestion_progress.tracker.sql import write_changes
from tests.support.tracking import eventually, quick_writer  # noqa: F401  (the fixture of all)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def attempt(settings) -> Attempt:
    settings.INGESTION_PROGRESS_HEARTBEAT_SECONDS = 60
    job = track("a.pdf", job_id="job", stages=["one"])
    job.start()
    job.leave()
    return job.buffer.attempt


def is_someone_waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # what this transaction saw before
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone() is not None


def committed_before(first: Callable[[], object], second: Callable[[], object]) -> None:
    """Commits `first` after another connection has begun with `second` and waits for it."""

    def perform() -> None:
        has_begun.set()
        second()
        connection.close()

    has_begun = threading.Event()
    thread = threading.Thread(target=perform)
    with transaction.atomic():
        first()
        thread.start()
        has_begun.wait(30)
        if connection.vendor == "postgresql":
            eventually(is_someone_waiting_for_a_lock)
    thread.join()


def own_count(n: int) -> JobChanges:
    changes = JobChanges()
    changes.own_counters["tables"].delta += n
    return changes


def test_counters_of_the_pipeline_add_up_when_two_connections_write_at_once(attempt):
    committed_before(
        lambda: write_changes(attempt, own_count(1)),
        lambda: write_changes(attempt, own_count(10)),
    )
    assert Job.objects.get().counters == {"tables": 11}


def test_write_that_waited_for_the_end_of_the_job_starts_no_worker_again(attempt):
    changes = JobChanges()
    changes.workers[1] = WorkerChange(status=WorkerStatus.PROCESSING, current_chunk="c-1")
    committed_before(
        lambda: finish_attempt(attempt, JobChanges(), JobStatus.SUCCEEDED),
        lambda: write_changes(attempt, changes),
    )
    assert not Worker.objects.filter(status=WorkerStatus.PROCESSING).exists()


def test_each_write_counts_as_a_heartbeat(attempt):
    before = Job.objects.get().heartbeat_at
    write_changes(attempt, own_count(1))
    assert Job.objects.get().heartbeat_at > before
