"""What is deleted of old jobs, what stays, and at which cost."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from ingestion_progress.models import Checkpoint, Job, JobAttempt, JobError, JobEvent, Stage, Worker
from ingestion_progress.pipeline.tasks import ingest_document
from ingestion_progress.recovery import retention
from ingestion_progress.recovery.retention import Pruner, prunable_jobs, prune_jobs
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import queue_job, track
from tests.support.rescuing import rescue_now

pytestmark = [pytest.mark.django_db, pytest.mark.database]

DAY = timedelta(days=1)


def ended(job_id: str, *, days: float, status: str = "succeeded", document_id: str = "") -> Job:
    job = Job(id=job_id, document_id=document_id or job_id, status=status)
    job.created_at = job.finished_at = timezone.now() - days * DAY
    job.save()
    return job


def left() -> set[str]:
    return set(Job.objects.values_list("pk", flat=True))


def pruned(**options: object) -> str:
    out = StringIO()
    call_command("prune_jobs", stdout=out, **options)
    return out.getvalue()


def test_only_jobs_that_ended_long_enough_ago_are_deleted():
    ended("old", days=31)
    ended("new", days=29)
    queue_job("a.pdf", job_id="queued")
    Job.objects.filter(pk="queued").update(created_at=timezone.now() - 90 * DAY)
    assert pruned(older_than=30 * DAY) == "1 jobs deleted.\n"
    assert left() == {"new", "queued"}


def test_a_job_goes_with_all_that_is_stored_of_it_and_another_keeps_its_own():
    for job_id in ("old", "new"):
        with synchronous_tracking(), track("a.pdf", job_id=job_id, workers=2) as job:
            job.stage("parsing").record_error("torn", item="page 1")
        Checkpoint.objects.create(job_id=job_id, stage="parsing", ranges=[[1, 3]])
        now = timezone.now()
        JobError.objects.create(
            job_id=job_id, digest="d", message="torn", attempt=1, first_at=now, last_at=now
        )
    Job.objects.filter(pk="old").update(
        created_at=timezone.now() - 9 * DAY,
        started_at=timezone.now() - 9 * DAY,
        finished_at=timezone.now() - 9 * DAY,
    )
    assert sum(prune_jobs(prunable_jobs(older_than=DAY))) == 1
    for model in (Checkpoint, JobAttempt, JobError, JobEvent, Stage, Worker):
        assert set(model.objects.values_list("job_id", flat=True)) == {"new"}, model


def test_results_of_the_deleted_jobs_tasks_go_and_a_waiting_task_stays():
    for job_id in ("old", "new", "queued"):
        ingest_document.enqueue(job_id)
    ended("old", days=9)
    ended("new", days=0)
    finished = DBTaskResult.objects.exclude(args_kwargs__args__0="queued")
    finished.update(status="SUCCESSFUL", finished_at=timezone.now())
    pruned(older_than=DAY)
    kept = sorted(task.args_kwargs["args"][0] for task in DBTaskResult.objects.all())
    assert kept == ["new", "queued"]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"status": ["failed"]}, {"a", "c", "e"}),
        ({"status": ["failed", "lost"]}, {"a", "c"}),
        ({"keep": 2}, {"a", "b"}),
        ({"keep": 9}, {"a", "b", "c", "d", "e"}),
        ({"keep": 1, "status": ["failed"]}, {"a", "b", "c", "e"}),
        ({"dry_run": True}, {"a", "b", "c", "d", "e"}),
    ],
)
def test_options_choose_what_is_deleted(options, kept):
    statuses = {"a": "succeeded", "b": "failed", "c": "succeeded", "d": "failed", "e": "lost"}
    for days, (job_id, status) in enumerate(statuses.items(), start=2):
        ended(job_id, days=days, status=status)
    pruned(older_than=DAY, **options)
    assert left() == kept


def test_nothing_is_deleted_without_an_age(settings):
    ended("old", days=1000)
    with pytest.raises(CommandError, match="--older-than"):
        pruned()
    settings.INGESTION_PROGRESS_KEEP_JOBS_DAYS = 900
    pruned()
    assert not left()


@pytest.mark.parametrize("wrong", ["30", "d", "1 d", "1y"])
def test_age_that_is_none_is_refused(wrong):
    with pytest.raises(CommandError, match="invalid age value"):
        call_command("prune_jobs", "--older-than", wrong)


def test_jobs_are_deleted_in_small_transactions_the_oldest_first(monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 2)
    for days in range(2, 7):
        ended(f"{days} days", days=days)
    chunks = prune_jobs(prunable_jobs(older_than=DAY))
    assert next(chunks) == 2
    assert left() == {"2 days", "3 days", "4 days"}
    chunks.close()  # as Ctrl-C does
    assert pruned(older_than=DAY) == "2 of 3 jobs deleted\n3 jobs deleted.\n"


def test_interrupted_command_says_what_it_has_deleted(monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 2)
    for days in range(2, 5):
        ended(f"{days} days", days=days)

    class Console(StringIO):
        def write(self, text: str) -> int:
            raise KeyboardInterrupt

    with pytest.raises(CommandError, match="2 of 3 jobs") as stopped:
        call_command("prune_jobs", older_than=DAY, stdout=Console())
    assert stopped.value.returncode == 130
    assert left() == {"2 days"}


def test_number_of_statements_does_not_depend_on_the_number_of_rows():
    def statements() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            list(prune_jobs(prunable_jobs(older_than=DAY)))
        return len(queries)

    ended("one", days=2)
    of_one = statements()
    for n in range(20):
        job = ended(f"job {n}", days=2)
        JobEvent.objects.bulk_create(
            JobEvent(job=job, attempt=1, message=str(line)) for line in range(20)
        )
    assert statements() == of_one
    assert not JobEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_job_that_somebody_has_locked_stays_and_the_others_go():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite locks the whole file")
    ended("held", days=3)
    ended("free", days=2)
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT id FROM ingestion_progress_job WHERE id = 'held' FOR UPDATE")
        assert sum(prune_jobs(prunable_jobs(older_than=DAY))) == 1
        assert left() == {"held"}
    finally:
        other.close()


class TestSetting:
    def test_keeps_all_jobs_by_default_and_asks_the_database_nothing(
        self, django_assert_num_queries
    ):
        ended("old", days=9000)
        with django_assert_num_queries(0):
            assert Pruner().prune() == 0

    def test_is_applied_once_an_hour_and_again_at_once_while_more_is_left(
        self, settings, monkeypatch
    ):
        settings.INGESTION_PROGRESS_KEEP_JOBS_DAYS = 30
        monkeypatch.setattr(retention, "CHUNK", 2)
        now = 100.0
        pruner = Pruner(clock=lambda: now)
        for n in range(3):
            ended(f"job {n}", days=31)
        assert [pruner.prune(), pruner.prune()] == [2, 1]
        ended("later", days=31)
        now += 3599
        assert pruner.prune() == 0
        now += 1
        assert pruner.prune() == 1

    def test_is_applied_by_the_process_that_rescues_jobs(self, settings, monkeypatch):
        settings.INGESTION_PROGRESS_KEEP_JOBS_DAYS = 30
        monkeypatch.setattr("ingestion_progress.recovery.rescue.pruner", Pruner())
        ended("old", days=31)
        ended("new", days=29)
        assert rescue_now().pruned == 1
        assert left() == {"new"}


def test_documents_are_deleted_with_their_jobs_only_on_request(monkeypatch):
    asked = []

    def delete(document_id: str, job_ids: set[str]) -> None:
        asked.append((document_id, job_ids, left()))

    monkeypatch.setattr(retention.extensions, "document_deleters", lambda: [delete])
    ended("a", days=3, document_id="doc-1")
    list(prune_jobs(prunable_jobs()))
    assert asked == []
    for name, document_id in (("b", "doc-2"), ("c", "doc-1"), ("d", "doc-2")):
        ended(name, days=2, document_id=document_id)
    queue_job("e.pdf", job_id="e", document_id="doc-3")
    assert list(prune_jobs(prunable_jobs(), with_documents=True)) == [3]
    pruned_jobs, before = {"b", "c", "d"}, {"b", "c", "d", "e"}
    assert asked == [("doc-1", pruned_jobs, before), ("doc-2", pruned_jobs, before)]
