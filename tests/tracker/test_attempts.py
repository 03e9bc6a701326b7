"""Two attempts at a job, of which the first has not noticed yet that it is over."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from ingestion_progress import track
from ingestion_progress.exceptions import JobCancelled, JobSuperseded
from ingestion_progress.models import Job, JobAttempt, Stage
from ingestion_progress.models.statuses import AttemptStatus, JobStatus
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import attempts, fail_job, request_cancellation
from ingestion_progress.tracker.database import locked_job, progress_transaction
from ingestion_progress.tracker.endings import follow_up, line_of_ending
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.tracker.registry import TrackerRegistry
from tests.support.tracking import eventually, quick_writer  # noqa: F401  (the fixture of all)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def test_superseded_attempt_sends_no_heartbeats_for_a_job_whose_process_died():
    with pytest.raises(JobSuperseded), track("a.pdf", job_id="job", stages=["one"]) as old:
        # Another process takes the job over, and is killed.
        start_attempt(JobPlan("a.pdf", job_id="job"), restart=True)
        long_ago = timezone.now() - timedelta(hours=1)
        Job.objects.update(heartbeat_at=long_ago)
        eventually(lambda: old.buffer.is_over)  # learned by a heartbeat
        assert Job.objects.get().heartbeat_at == long_ago
        old.raise_if_cancelled()


def test_attempt_after_a_cancelled_one_runs_to_its_end():
    with pytest.raises(JobCancelled), track("a.pdf", job_id="job", stages=["one"]) as first:
        request_cancellation("job")
        eventually(lambda: first.cancel_requested)
        first.raise_if_cancelled()
    with track("a.pdf", job_id="job", stages=["one"], restart=True) as second:
        beat = Job.objects.get().heartbeat_at
        eventually(lambda: Job.objects.get().heartbeat_at > beat)
        for _ in second.stage("one").iterate(range(3)):
            second.flush()
    job = Job.objects.get()
    assert (job.status, job.attempt, job.cancel_requested_at) == ("succeeded", 2, None)


def test_next_attempt_keeps_what_describes_the_job_and_nothing_of_the_former_one():
    now = timezone.now()
    described = {
        "document_id": "d", "document_name": "a.pdf", "document_version": "v", "batch": "b",
        "owner_id": None, "owner_name": "anna", "about_model": "auth.user", "about_id": "7",
        "metadata": {"n": 1}, "task": "shop.ingest", "priority": 3, "pool_size": 2,
        "failed_attempts": 2, "created_at": now,
    }  # fmt: skip
    former = {
        "started_by": "anna", "writer": "host/1", "total_chunks": 1, "total_images": 1,
        "entities_total": 1, "relations_total": 1, "neo4j_writes": 1, "qdrant_writes": 1,
        "counters": {"n": 1}, "queue_depth": 1, "reached_percent": 1.0, "error_count": 1,
        "failed_items": 1, "started_at": now, "finished_at": now, "heartbeat_at": now,
        "waits_for_batch": True, "retry_at": now, "cancel_requested_at": now,
        "cancel_requested_by": "ben", "cancel_acknowledged_at": now, "waiting_for": "a model",
        "error": "No text.", "former_jobs": 3, "likely_end_at": now, "earliest_end_at": now,
        "latest_end_at": now, "is_forecast_by_weights": True, "event_count": 9,
    }  # fmt: skip
    moved = {"id", "status", "attempt", "epoch", "revision", "updated_at", "queued_at"}
    columns = {field.attname for field in Job._meta.concrete_fields}
    assert described.keys() | former.keys() | moved == columns
    job = Job(id="job", status=JobStatus.FAILED, attempt=4, revision=7, **described, **former)
    job.save()
    epoch = job.epoch
    with progress_transaction():
        attempts.queue_attempts([job], due_at=None)
    job, new = Job.objects.get(), Job()
    assert {name: getattr(job, name) for name in described} == described
    assert {name: getattr(job, name) for name in former} == {
        name: getattr(new, name) for name in former
    }
    assert (job.status, job.attempt, job.revision) == (JobStatus.QUEUED, 5, 8)
    assert job.epoch != epoch
    assert job.queued_at == job.updated_at >= now


def test_attempt_that_has_ended_elsewhere_is_not_kept_in_memory():
    registry = TrackerRegistry()
    with synchronous_tracking():
        for job_id in "ab":
            start_attempt(JobPlan("a.pdf", job_id=job_id, stages=["one"]))
        joined = registry.join("a")
        assert registry.get("a") is registry.kept("a") is joined
        fail_job("a", "by its queue")
        joined.flush()
        registry.join("b")
    assert registry.kept("a") is None
    assert registry.kept("b") is not None


@pytest.mark.parametrize(("failures", "says_so"), [(0, False), (1, True)])
def test_the_last_of_several_failures_says_how_many_there_were(settings, failures, says_so):
    settings.INGESTION_PROGRESS_MAX_ATTEMPTS = failures + 1
    start_attempt(JobPlan("a.pdf", job_id="job", task="shop.ingest"))
    Job.objects.update(failed_attempts=failures)
    with progress_transaction():
        follow_up(locked_job("job"), AttemptStatus.FAILED, "No text.")
    job = Job.objects.get()
    assert (job.status, job.failed_attempts) == (JobStatus.FAILED, failures + 1)
    assert job.error.startswith("No text.")
    assert (f"{failures + 1} times in a row" in job.error) is says_so


def test_first_and_newest_attempts_are_kept(monkeypatch):
    monkeypatch.setattr(attempts, "MAX_KEPT_ATTEMPTS", 4)
    with synchronous_tracking():
        for job_id, number in (("other", 2), ("job", 7)):
            for _ in range(number):
                with track("a.pdf", job_id=job_id, stages=["one"], restart=True):
                    pass
    kept = JobAttempt.objects.filter(job="job").values_list("number", flat=True)
    assert list(kept) == [1, 5, 6, 7]
    assert Job.objects.get(pk="job").attempt == 7
    assert JobAttempt.objects.filter(job="other").count() == 2


@pytest.mark.parametrize(
    ("ending", "name"),
    [
        (AttemptStatus.INTERRUPTED, "Handed back"),
        (AttemptStatus.FAILED, "Failed"),
        (AttemptStatus.LOST, "Lost"),
        (JobStatus.CANCELLED, "Cancelled"),
    ],
)
def test_the_log_names_how_an_attempt_ended(ending, name):
    assert line_of_ending(ending) == name


def stages_of(number: int) -> dict[str, dict]:
    stored = JobAttempt.objects.get(job="job", number=number).stages
    for stage in stored:
        start, end = stage.pop("span_ms") or (0, -1)
        stage["ran"] = start <= end
    return {stage.pop("name"): stage for stage in stored}


def test_ended_attempt_keeps_what_its_stages_did():
    with (
        synchronous_tracking(),
        pytest.raises(OSError, match="torn"),
        track("a.pdf", job_id="job", stages=["one", "two", "three"]) as job,
    ):
        with job.stage("one", total=2, unit="pages") as stage:
            stage.advance(2)
        with job.stage("two", total=9, unit="chunks") as stage:
            stage.advance(3)
            stage.record_error("unreadable", item="4")
            raise OSError("torn")
    assert stages_of(1) == {
        "one": {
            "status": "completed",
            "processed": 2,
            "total": 2,
            "failed": 0,
            "unit": "pages",
            "ran": True,
        },
        "two": {
            "status": "error",
            "processed": 3,
            "total": 9,
            "failed": 1,
            "unit": "chunks",
            "ran": True,
        },
        "three": {
            "status": "not_run",
            "processed": 0,
            "total": 0,
            "failed": 0,
            "unit": "",
            "ran": False,
        },
    }


def test_stage_of_a_lost_attempt_was_stopped_and_the_next_one_begins_anew():
    with synchronous_tracking():
        start_attempt(JobPlan("a.pdf", job_id="job", stages=["one", "two"], task="a.task"))
        stages = Stage.objects.filter(job="job", name="one")
        stages.update(status="in_progress", processed=5, started_at=timezone.now())
        with progress_transaction():
            follow_up(locked_job("job"), AttemptStatus.LOST, "Its worker died.")
    assert {name: stage["status"] for name, stage in stages_of(1).items()} == {
        "one": "stopped",
        "two": "not_run",
    }
    assert stages_of(1)["one"]["ran"]
    assert stages.get().started_at is None
