"""Batches as records: their limit, what people do with them, and their progress."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from ingestion_progress import track
from ingestion_progress.exceptions import (
    BatchActive,
    BatchExists,
    BatchFull,
    BatchNotFound,
    InvalidBatch,
    InvalidCount,
)
from ingestion_progress.models import Batch, Job
from ingestion_progress.models.statuses import JobStatus, Liveness
from ingestion_progress.recovery import (
    BatchDeletion,
    BatchResult,
    batches,
    cancel_batch,
    continue_batch,
    delete_batch,
    rescue_pass,
    retry_batch,
)
from ingestion_progress.recovery.retention import CHUNK, Pruner
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import create_batch, fail_job, queue_job, request_cancellation
from ingestion_progress.tracker.batches import change_batch, start_waiting_jobs
from ingestion_progress.wire.batches import batch_progress

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TASK = "tests.recovery.test_batches.task"
queued: list[str] = []


class Task:
    def enqueue(self, job_id: str) -> None:
        queued.append(job_id)


task = Task()


@pytest.fixture(autouse=True)
def write_at_once():
    queued.clear()
    with synchronous_tracking():
        yield


def jobs_of(batch: str, count: int, **fields: object) -> list[Job]:
    return [
        queue_job(f"{number}.pdf", job_id=f"{batch}-{number}", batch=batch, task=TASK, **fields)
        for number in range(count)
    ]


def waiting() -> list[str]:
    return list(
        Job.objects.waiting_for_batch().order_by("created_at", "pk").values_list("pk", flat=True)
    )


class TestRecords:
    def test_the_first_job_creates_the_record_of_its_batch(self):
        anna = User.objects.create_user("anna")
        jobs_of("import", 2, owner=anna)
        batch = Batch.objects.get()
        assert (batch.pk, batch.owner, batch.owner_name) == ("import", anna, "anna")
        assert (batch.name, str(batch), batch.max_running) == ("", "import", 0)

    def test_a_record_that_was_created_before_is_kept(self):
        create_batch("May, 5 files", batch_id="import", max_running=2)
        jobs_of("import", 1)
        batch = Batch.objects.get()
        assert (str(batch), batch.max_running) == ("May, 5 files", 2)
        with pytest.raises(BatchExists):
            create_batch(batch_id="import")

    def test_a_batch_of_an_older_process_is_found_and_gets_a_record_when_it_is_changed(self):
        job = Job.objects.create(batch="old")
        assert Batch.find("old").created_at == job.created_at
        assert not Batch.objects.exists()
        with pytest.raises(BatchExists):
            create_batch(batch_id="old")
        change_batch("old", name="May")
        assert Batch.objects.get().name == "May"

    def test_invalid_values_are_refused(self):
        for values, error in (
            ({"batch_id": "a/b"}, InvalidBatch),
            ({"max_running": -1}, InvalidCount),
            ({"max_running": 2**31}, InvalidCount),
        ):
            with pytest.raises(error):
                create_batch(**values)
        with pytest.raises(BatchNotFound):
            change_batch("nobody", name="x")
        assert not Batch.objects.exists()

    def test_only_what_is_given_is_changed(self):
        create_batch("May", batch_id="import", max_running=2)
        for change, name, most in (
            ({"max_running": 0}, "May", 0),
            ({"name": ""}, "", 0),
            ({"name": "June", "max_running": 3}, "June", 3),
            ({}, "June", 3),
        ):
            changed = change_batch("import", **change)
            assert (changed.name, changed.max_running) == (name, most)
            assert Batch.objects.values_list("name", "max_running").get() == (name, most)

    def test_empty_batches_are_deleted_with_old_jobs(self, settings):
        settings.INGESTION_PROGRESS_KEEP_JOBS_DAYS = 1
        for name in ("empty", "used", "new"):
            create_batch(batch_id=name)
        jobs_of("used", 1)
        old = timezone.now() - timedelta(days=2)
        Batch.objects.exclude(pk="new").update(created_at=old)
        Pruner().prune()
        assert set(Batch.objects.values_list("pk", flat=True)) == {"used", "new"}


class TestLimit:
    @pytest.fixture(autouse=True)
    def two_at_a_time(self):
        create_batch(batch_id="import", max_running=2)

    def test_a_job_of_a_full_batch_waits_and_blocks_no_others(self):
        jobs = jobs_of("import", 3)
        jobs_of("other", 1)
        with track("a", job_id="import-0"), track("b", job_id="import-1"):
            with pytest.raises(BatchFull, match="import-2 waits"), track("c", job_id="import-2"):
                pass
            with track("d", job_id="other-0"):
                assert Job.objects.running().count() == 3
            jobs[2].refresh_from_db()
            assert (jobs[2].status, jobs[2].waits_for_batch) == ("queued", True)
            assert jobs[2].attempt == 1
            tomorrow = timezone.now() + timedelta(days=1)
            assert jobs[2].liveness(tomorrow) is Liveness.QUEUED  # no worker is missing
            assert start_waiting_jobs() == 0

    def test_a_waiting_job_is_queued_once_another_ends(self):
        jobs_of("import", 4)
        with track("a", job_id="import-0"), track("b", job_id="import-1"):
            for job_id in ("import-2", "import-3"):
                with pytest.raises(BatchFull), track("c", job_id=job_id):
                    pass
            continue_batch("import-0")
            assert queued == []
            Job.objects.filter(pk="import-1").update(
                status=JobStatus.FAILED, finished_at=timezone.now()
            )
            continue_batch("import-1")
            assert queued == ["import-2"]
            assert waiting() == ["import-3"]
            Job.objects.filter(pk="import-1").update(status=JobStatus.RUNNING, finished_at=None)
        with track("c", job_id="import-2"):
            assert not Job.objects.get(pk="import-2").waits_for_batch

    def test_a_waiting_job_has_the_task_that_it_was_started_with(self):
        jobs_of("import", 2)
        queue_job("c.pdf", job_id="c", batch="import")
        with track("a", job_id="import-0"), track("b", job_id="import-1"):
            with pytest.raises(BatchFull), track("c", job_id="c", task=TASK):
                pass
        assert Job.objects.get(pk="c").task == TASK
        continue_batch("import-0")
        assert queued == ["c"]

    def test_a_rescue_pass_queues_what_may_run(self):
        jobs_of("import", 3)
        Job.objects.update(waits_for_batch=True)
        rescue_pass()
        assert sorted(queued) == ["import-0", "import-1"]

    def test_a_waiting_job_that_may_start_is_announced(self):
        jobs_of("import", 1)
        past = timezone.now() - timedelta(days=1)
        Job.objects.update(waits_for_batch=True, updated_at=past, queued_at=past)
        before = Job.objects.get()
        assert start_waiting_jobs() == 1
        after = Job.objects.get()
        assert after.revision == before.revision + 1
        for name in ("updated_at", "queued_at"):
            assert getattr(after, name) > getattr(before, name)
        assert after.retry_at is not None

    def test_a_higher_limit_and_no_limit_start_waiting_jobs(self):
        jobs_of("import", 5)
        Job.objects.update(waits_for_batch=True)
        change_batch("import", max_running=3)
        assert start_waiting_jobs() == 3
        change_batch("import", max_running=0)
        assert start_waiting_jobs() == 2

    def test_a_limit_below_the_number_of_running_jobs_starts_none(self):
        jobs_of("import", 3)
        with track("a", job_id="import-0"), track("b", job_id="import-1"):
            Job.objects.filter(pk="import-2").update(waits_for_batch=True)
            change_batch("import", max_running=1)
            assert start_waiting_jobs() == 0
        assert waiting() == ["import-2"]

    def test_a_waiting_job_can_be_cancelled_and_retried(self):
        jobs_of("import", 1)
        Job.objects.update(waits_for_batch=True)
        request_cancellation("import-0")
        assert waiting() == []
        retry = retry_batch(Job.objects.all())
        assert retry.changed == 0  # cancelled jobs are not failed ones
        assert not Job.objects.with_result("failed").exists()

    def test_a_job_without_a_stored_task_never_waits(self):
        for number in range(3):
            queue_job("a.pdf", job_id=f"job-{number}", batch="import")
        with track("a", job_id="job-0"), track("b", job_id="job-1"), track("c", job_id="job-2"):
            assert Job.objects.running().count() == 3


class TestActions:
    def test_cancelling_ends_queued_jobs_and_asks_running_ones(self):
        jobs_of("import", 3)
        jobs_of("other", 1)
        fail_job("import-0", "No text.")
        with track("b", job_id="import-1"):
            result = cancel_batch(Job.objects.of_batch("import"), by="anna")
            assert (result.changed, result.refused) == (2, {})
            assert Job.objects.get(pk="import-1").cancel_requested_by == "anna"
            assert Job.objects.get(pk="import-2").status == JobStatus.CANCELLED
            assert Job.objects.get(pk="other-0").status == JobStatus.QUEUED

    def test_retrying_queues_failed_jobs(self):
        jobs_of("import", 3)
        fail_job("import-0", "No text.")
        fail_job("import-1", "No text.")
        Job.objects.filter(pk="import-1").update(task="")
        result = retry_batch(Job.objects.of_batch("import"), by="anna")
        assert (result.changed, list(result.refused)) == (1, ["import-1"])
        job = Job.objects.get(pk="import-0")
        assert (job.status, job.attempt, job.started_by) == ("queued", 2, "anna")

    def test_failed_items_of_successes_are_retried_on_request(self):
        jobs_of("import", 1)
        with track("a", job_id="import-0") as job, job.stage("parsing", total=2) as stage:
            stage.record_error("No text.")
        with track("b", job_id="whole"):
            pass
        jobs_of("other", 1)  # queued
        assert retry_batch(Job.objects.all()) == BatchResult()
        assert retry_batch(Job.objects.all(), only="failed") == BatchResult(changed=1)

    def test_an_action_changes_so_many_jobs_the_oldest_first(self, monkeypatch):
        monkeypatch.setattr(batches, "MAX_JOBS", 2)
        jobs_of("import", 3)
        for number, age in enumerate((1, 3, 2)):
            created_at = timezone.now() - timedelta(minutes=age)
            Job.objects.filter(pk=f"import-{number}").update(created_at=created_at)
        assert cancel_batch(Job.objects.all()) == BatchResult(changed=2)
        assert Job.objects.active().get().pk == "import-0"
        assert cancel_batch(Job.objects.all()) == BatchResult(changed=1)

    def test_deleting_removes_the_batch_and_its_jobs(self):
        jobs_of("import", 2)
        jobs_of("other", 1)
        fail_job("import-0", "No text.")
        with pytest.raises(BatchActive):
            delete_batch("import")
        fail_job("import-1", "No text.")
        assert delete_batch("import") == BatchDeletion(deleted=2, left=0)
        assert list(Batch.objects.values_list("pk", flat=True)) == ["other"]
        assert list(Job.objects.values_list("pk", flat=True)) == ["other-0"]

    def test_a_job_that_is_added_during_the_deletion_stays_with_its_batch(self):
        jobs_of("import", 1)
        fail_job("import-0", "No text.")

        def clock() -> float:
            if not Job.objects.exists():
                queue_job("late.pdf", job_id="late", batch="import")
            return 0.0

        with pytest.raises(BatchActive):
            delete_batch("import", clock=clock)
        assert Job.objects.get().pk == "late"
        assert Batch.objects.exists()

    def test_a_deletion_that_takes_too_long_is_continued_by_the_next_call(self):
        Batch.objects.create(pk="import")
        fields = {"status": JobStatus.FAILED, "finished_at": timezone.now()}
        Job.objects.bulk_create(Job(batch="import", **fields) for _ in range(5 * CHUNK))
        times = itertools.count()

        def deleted() -> BatchDeletion:
            return delete_batch("import", seconds=2, clock=lambda: next(times))

        assert deleted() == BatchDeletion(deleted=2 * CHUNK, left=3 * CHUNK)
        assert Batch.objects.exists()
        assert deleted() == BatchDeletion(deleted=2 * CHUNK, left=CHUNK)
        assert deleted() == BatchDeletion(deleted=CHUNK, left=0)
        assert not Batch.objects.exists()


class TestProgress:
    def test_counts_and_the_percentage_are_those_of_the_jobs(self, django_assert_num_queries):
        jobs_of("import", 4)
        jobs_of("other", 1)
        queue_job("a.pdf")
        fail_job("import-0", "No text.")
        Job.objects.filter(pk="import-0").update(reached_percent=50)
        with track("a", job_id="import-1") as job, job.stage("parsing", total=2) as stage:
            stage.record_error("No text.")
        batches = list(Batch.objects.all())
        with track("b", job_id="import-2"):
            with django_assert_num_queries(2):
                progress = batch_progress(Job.objects.all(), batches)
        assert set(progress) == {"import", "other"}
        found = progress["import"]
        assert found.jobs == 4
        assert found.counts.model_dump(exclude_defaults=True) == {
            "queued": 1, "running": 1, "partial": 1, "failed": 1
        }  # fmt: skip
        assert (found.failed_items, found.error_count) == (1, 1)
        assert found.overall_progress_percent == 37.5
        assert found.finished_at is None

    def test_a_batch_is_at_100_percent_only_if_all_jobs_succeeded(self):
        jobs_of("import", 2)
        with track("a", job_id="import-0"):
            pass
        for reached in (99.99, 100):
            Job.objects.filter(pk="import-1").update(reached_percent=reached)
            found = batch_progress(Job.objects.all(), Batch.objects.all())["import"]
            assert found.overall_progress_percent == 99.9
        with track("a", job_id="import-1"):
            pass
        found = batch_progress(Job.objects.all(), Batch.objects.all())["import"]
        assert found.overall_progress_percent == 100
        assert found.finished_at == Job.objects.get(pk="import-1").finished_at

    def test_a_job_that_failed_at_its_last_item_keeps_its_batch_below_100_percent(self):
        jobs_of("import", 1)
        fail_job("import-0", "No text.")
        Job.objects.update(reached_percent=100)
        assert (
            batch_progress(Job.objects.all(), Batch.objects.all())[
                "import"
            ].overall_progress_percent
            == 99.9
        )
