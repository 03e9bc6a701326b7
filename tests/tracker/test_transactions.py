"""Each write of a job is one transaction, and changes the rows of that job only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingestion_progress.exceptions import ProgressUnavailable
from ingestion_progress.models import Job, JobEvent, Stage, Worker
from ingestion_progress.models.statuses import EventLevel, JobStatus, StageStatus, WorkerStatus
from ingestion_progress.recovery import retry_job
from ingestion_progress.tracker import (
    delete_job,
    fail_job,
    queue_job,
    request_cancellation,
    transactions,
)
from ingestion_progress.tracker.changes import EventEntry, JobChanges, WorkerChange
from ingestion_progress.tracker.endings import finish_attempt
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import Attempt, JobPlan
from ingestion_progress.tracker.sql import renew_heartbeats, write_changes
from ingestion_progress.tracker.transactions import in_transactions
from tests.support.rescuing import rescue_now
from tests.tracker.test_database import locked

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def changes_of_all_kinds() -> JobChanges:
    changes = JobChanges()
    changes.counters["entities_total"].delta = 4
    changes.own_counters["tables"].delta = 5
    changes.stages["one"].status = StageStatus.IN_PROGRESS
    changes.stages["one"].counters["in_flight"].delta = 2
    changes.workers[1] = WorkerChange(status=WorkerStatus.PROCESSING, current_chunk="c-1")
    changes.add_event(EventEntry(at=timezone.now(), level=EventLevel.INFO, message="line"))
    return changes


def busy(job_id: str) -> Attempt:
    attempt = start_attempt(JobPlan("a.pdf", job_id=job_id, stages=["one", "two"], workers=1))
    write_changes(attempt, changes_of_all_kinds())
    return attempt


def rows_of(job_id: str) -> list[list[dict[str, object]]]:
    keys = {Job: "pk", Stage: "job", Worker: "job", JobEvent: "job"}
    return [
        list(model.objects.filter(**{key: job_id}).order_by("pk").values())
        for model, key in keys.items()
    ]


ACTS: dict[str, Callable[[Attempt], object]] = {
    "write": lambda attempt: write_changes(attempt, changes_of_all_kinds()),
    "success": lambda attempt: finish_attempt(attempt, changes_of_all_kinds(), JobStatus.SUCCEEDED),
    "failure": lambda attempt: finish_attempt(attempt, changes_of_all_kinds(), JobStatus.FAILED),
    "restart": lambda attempt: start_attempt(JobPlan("b.pdf", job_id="job"), restart=True),
    "restart with stages": lambda attempt: start_attempt(
        JobPlan("b.pdf", job_id="job", stages=["three"], workers=2), restart=True
    ),
    "cancellation": lambda attempt: request_cancellation("job"),
    "failure without a tracker": lambda attempt: fail_job("job", "reason"),
    "deletion": lambda attempt: delete_job("job", even_if_running=True),
    "loss": lambda attempt: rescue_now(),
    "retry": lambda attempt: retry_job("job"),
}


@pytest.fixture
def attempt() -> Attempt:
    """Of the job that the acts are about, which gave no sign of life for an hour."""
    attempt = busy("job")
    long_ago = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk="job").update(heartbeat_at=long_ago, task="shop.tasks.ingest")
    return attempt


@pytest.mark.parametrize("act", [*ACTS.values(), lambda attempt: renew_heartbeats([attempt])])
def test_other_jobs_stay_as_they_are(attempt, act):
    busy("other")
    before, others = rows_of("job"), rows_of("other")
    act(attempt)
    assert rows_of("job") != before
    assert rows_of("other") == others


def is_write(sql: str) -> bool:
    return sql.startswith(("INSERT", "UPDATE", "DELETE"))


def fail_at_the_last_write_of(act: Callable[[], object]) -> None:
    """Rehearses the act, and has the database refuse its last write when it is performed."""

    def refuse_last(execute, sql, *args):
        nonlocal left
        left -= is_write(sql)
        if is_write(sql) and not left:
            raise RuntimeError("refused")
        return execute(sql, *args)

    with CaptureQueriesContext(connection) as rehearsed, transaction.atomic():
        act()
        transaction.set_rollback(True)
    left = sum(is_write(query["sql"]) for query in rehearsed)
    assert left > 1
    # A rescue pass logs the error, because other jobs wait for it.
    with connection.execute_wrapper(refuse_last), suppress(RuntimeError):
        act()
    assert left == 0


@pytest.mark.parametrize("name", ACTS)
def test_act_that_fails_midway_changes_nothing(attempt, name):
    before = rows_of("job")
    fail_at_the_last_write_of(lambda: ACTS[name](attempt))
    assert rows_of("job") == before


def test_job_that_cannot_be_queued_completely_does_not_exist():
    fail_at_the_last_write_of(lambda: queue_job("a.pdf", job_id="job", workers=1))
    assert not Job.objects.exists()


class Write:
    """A write of several jobs, which finds a row locked the first times."""

    def __init__(self, locked_times: int = 0) -> None:
        self.locked_times = locked_times
        self.tries: list[list[str]] = []

    def __call__(self, job_ids: Sequence[str]) -> dict[str, str]:
        assert connection.in_atomic_block
        self.tries.append(list(job_ids))
        if len(self.tries) <= self.locked_times:
            raise locked()
        return {job_id: f"not {job_id}" for job_id in job_ids if job_id.startswith("x")}


def test_refusals_of_all_transactions_are_returned(monkeypatch):
    monkeypatch.setattr(transactions, "JOBS_PER_TRANSACTION", 2)
    write = Write()
    assert in_transactions(["x1", "a", "x2"], "retry", write) == {"x1": "not x1", "x2": "not x2"}
    assert write.tries == [["x1", "a"], ["x2"]]


def test_refusals_of_earlier_transactions_stay_when_a_later_one_meets_a_lock(monkeypatch):
    monkeypatch.setattr(transactions, "JOBS_PER_TRANSACTION", 1)

    def write(job_ids: Sequence[str]) -> dict[str, str]:
        if "held" in job_ids:
            raise locked()
        return dict.fromkeys(job_ids, "not this one")

    queue_job("a.pdf", job_id="held")
    assert in_transactions(["first", "held"], "retry", write).keys() == {"first", "held"}


def test_jobs_of_a_transaction_that_met_a_lock_are_tried_once_more():
    for job_id in ("a", "x1"):
        queue_job("a.pdf", job_id=job_id)
    write = Write(locked_times=1)
    assert in_transactions(["a", "x1"], "retry", write) == {"x1": "not x1"}
    assert write.tries == [["a", "x1"]] * 2


def test_jobs_that_stay_locked_are_refused():
    queue_job("a.pdf", job_id="a")
    refused = in_transactions(["a", "unknown"], "retry", Write(locked_times=9))
    assert refused.keys() == {"a", "unknown"}
    for job_id, error in refused.items():
        assert isinstance(error, ProgressUnavailable)
        assert job_id in str(error)
        assert "retry" in str(error)


def test_only_the_locked_ones_of_the_named_jobs_are_refused(monkeypatch):
    for job_id in ("a", "held", "held too"):
        queue_job("a.pdf", job_id=job_id)
    free = transactions.unlocked
    monkeypatch.setattr(
        transactions, "unlocked", lambda found: free(found).exclude(pk__startswith="held")
    )
    write = Write(locked_times=1)
    assert in_transactions(["held", "a"], "retry", write).keys() == {"held"}
    assert write.tries == [["held", "a"], ["a"]]
