from __future__ import annotations

from contextlib import ExitStack

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingestion_progress.exceptions import InvalidJobId, ProgressUnavailable
from ingestion_progress.models import Job, JobAttempt, Stage
from ingestion_progress.models.statuses import JobStatus, StageStatus
from ingestion_progress.tracker import queue_job, request_cancellation
from ingestion_progress.tracker.cancellations import request_cancellations
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.endings import finish_attempt
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.tracker.transactions import JOBS_PER_TRANSACTION
from tests.tracker.test_flush import held

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def queued(count: int) -> list[str]:
    return [queue_job("a.pdf", job_id=f"queued-{n}", stages=["one"]).pk for n in range(count)]


def running(count: int) -> list[str]:
    plans = [JobPlan("a.pdf", job_id=f"running-{n}", stages=["one"]) for n in range(count)]
    return [start_attempt(plan).job_id for plan in plans]


def test_many_jobs_end_or_are_asked_and_each_refusal_has_its_reason():
    waiting, busy = queued(2), running(2)
    over = start_attempt(JobPlan("a.pdf", job_id="over"))
    finish_attempt(over, JobChanges(), JobStatus.FAILED)
    Stage.objects.filter(job="running-0").update(status=StageStatus.IN_PROGRESS)
    refused = request_cancellations([*waiting, "nobody", *busy, "over"], by="anna")
    assert [str(each) for each in refused.values()] == [
        "Job not found: nobody",
        "Job over is failed and cannot be cancelled.",
    ]
    cancelled = Job.objects.filter(status=JobStatus.CANCELLED)
    assert sorted(job.pk for job in cancelled) == waiting
    asked = Job.objects.running()
    assert [job.is_asked_to_stop for job in asked] == [True, True]
    assert {job.cancel_requested_by for job in [*cancelled, *asked]} == {"anna"}
    assert all(job.event_count == job.events.count() for job in Job.objects.all())
    endings = JobAttempt.objects.exclude(job="over").values_list("job", "status")
    assert sorted(endings) == [(job_id, "cancelled") for job_id in waiting]
    assert Stage.objects.get(job="running-0").stage_status is StageStatus.IN_PROGRESS


def test_twice_as_many_jobs_cost_no_more_statements():
    def statements(count: int) -> int:
        Job.objects.all().delete()
        ids = [*queued(count), *running(count)]
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert request_cancellations(ids) == {}
        return len(captured)

    assert statements(6) == statements(3)


def test_more_jobs_than_fit_one_transaction_are_all_cancelled():
    Job.objects.bulk_create(Job(id=f"{n:04}") for n in range(JOBS_PER_TRANSACTION + 1))
    ids = list(Job.objects.values_list("pk", flat=True))
    assert request_cancellations(ids) == {}
    assert Job.objects.filter(status=JobStatus.CANCELLED).count() == len(ids)


def test_a_second_request_keeps_the_name_of_the_first():
    running(1)
    request_cancellation("running-0", by="anna")
    request_cancellation("running-0", by="ben")
    assert Job.objects.get().cancel_requested_by == "anna"


def test_a_name_that_is_too_long_or_cannot_be_stored_is_cut():
    running(1)
    request_cancellation("running-0", by="a\0" * 300)
    assert len(Job.objects.get().cancel_requested_by) == 255


def test_an_id_that_the_database_would_refuse_is_invalid():
    with pytest.raises(InvalidJobId):
        request_cancellation("\0")


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite locks the whole file")
def test_locked_rows_are_refused_after_one_wait_and_the_other_jobs_are_cancelled():
    running(8)
    ids = [f"running-{number}" for number in range(8)]
    limits: list[float] = []

    def count_waits(execute, sql, params, many, context):
        limits.append("SET LOCAL lock_timeout" in sql)
        return execute(sql, params, many, context)

    with ExitStack() as locks, connection.execute_wrapper(count_waits):
        for job_id in ids[:6]:
            locks.enter_context(held(job_id))
        refused = request_cancellations(ids, by="anna")
    assert set(refused) == set(ids[:6])
    assert all(isinstance(error, ProgressUnavailable) for error in refused.values())
    assert sum(limits) == 2  # in the transaction that waits, and in the one that does not
    asked = Job.objects.filter(cancel_requested_by="anna")
    assert set(asked.values_list("pk", flat=True)) == set(ids[6:])
