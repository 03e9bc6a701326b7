"""Records of batches: who creates one, and what happens while another process holds it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingestion_progress import wakeups
from ingestion_progress.exceptions import BatchFull, BatchRefused
from ingestion_progress.models import Batch, Job
from ingestion_progress.tracker import batches, create_batch, fail_job, queue_job
from ingestion_progress.tracker.batches import change_batch, join_batch, start_waiting
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_the_first_job_creates_the_record_with_its_name_and_owner():
    anna, asked = User.objects.create_user("anna"), []
    before = timezone.now()
    join_batch("import", name="May\0", owner=anna, may_join=lambda name: not asked.append(name))
    batch = Batch.objects.get()
    assert (batch.pk, batch.name, batch.owner, batch.owner_name) == ("import", "May", anna, "anna")
    assert batch.created_at >= before
    assert asked == ["import"]  # a new batch is asked about once


def test_the_first_queued_job_names_its_batch():
    before = timezone.now()
    for name in ("May\0", "June"):
        queue_job("a.pdf", batch="import", batch_name=name)
    batch = Batch.objects.get()
    assert batch.name == "May"
    assert abs(batch.created_at - before) < timedelta(minutes=1)


def test_a_record_that_exists_is_joined_as_it_is_and_asked_about_again():
    create_batch("May", batch_id="import")
    asked = []
    join_batch("import", name="June", owner=None, may_join=lambda name: not asked.append(name))
    assert Batch.objects.get().name == "May"
    assert asked == ["import", "import"]


@pytest.mark.parametrize("answers", [[False], [True, False]])
def test_who_may_not_join_is_refused(answers):
    """Also if another first job has created the batch since the first answer."""
    create_batch(batch_id="import")
    given = iter(answers)
    with pytest.raises(BatchRefused):
        join_batch("import", name="", owner=None, may_join=lambda name: next(given))


def test_jobs_that_may_start_or_have_to_wait_are_announced_after_the_commit(
    monkeypatch, django_capture_on_commit_callbacks
):
    published: list[str] = []
    monkeypatch.setattr(wakeups, "publish", lambda job_id, **_: published.append(job_id))
    create_batch(batch_id="import", max_running=1)
    ahead = timezone.now() + timedelta(minutes=5)
    for job_id in "abc":
        queue_job("a.pdf", job_id=job_id, batch="import", task="shop.ingest")
    # By another host's clock, and after a failure.
    Job.objects.filter(pk="b").update(created_at=ahead, retry_at=timezone.now())
    revision = Job.objects.get(pk="b").revision
    start_attempt(JobPlan("a.pdf", job_id="a"))
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(BatchFull):
        start_attempt(JobPlan("a.pdf", job_id="b"))
    assert published == ["b"]
    waiting = Job.objects.get(pk="b")
    assert waiting.updated_at == ahead
    assert (waiting.retry_at, waiting.revision) == (None, revision + 1)
    fail_job("a", "No text.")
    published.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert start_waiting("import") == 1
    assert published == ["b"]


def test_a_batch_that_may_not_be_joined_gets_no_record():
    with pytest.raises(BatchRefused):
        join_batch("import", name="", owner=None, may_join=lambda name: False)
    assert not Batch.objects.exists()


def test_waiting_jobs_of_a_batch_that_another_process_holds_wait_for_the_next_pass(monkeypatch):
    create_batch(batch_id="import", max_running=1)
    queue_job("a.pdf", job_id="job", batch="import")
    Job.objects.update(waits_for_batch=True)
    with monkeypatch.context() as held:
        held.setattr(batches, "unlocked", lambda found: found.none())
        assert start_waiting("import") == 0
    assert Job.objects.get().waits_for_batch
    assert start_waiting("import") == 1


def test_waiting_jobs_of_a_batch_without_a_record_start():
    Job.objects.create(id="job", batch="old", waits_for_batch=True)
    assert start_waiting("old") == 1
    assert not Job.objects.get().waits_for_batch


def test_a_job_of_a_batch_without_a_limit_does_not_lock_its_batch():
    create_batch(batch_id="import")
    queue_job("a.pdf", job_id="a", batch="import", task="shop.ingest")
    with CaptureQueriesContext(connection) as queries:
        start_attempt(JobPlan("a.pdf", job_id="a"))
    table = f'FROM "{Batch._meta.db_table}"'
    assert len([each for each in queries if table in each["sql"]]) == 1


def test_a_name_is_cut_and_cleaned():
    batch = create_batch("May\0" + "y" * 300)
    assert Batch.objects.get().name == "May" + "y" * 251 + "…"
    change_batch(batch.pk, name="June\0" + "e" * 300)
    assert Batch.objects.get().name == "June" + "e" * 250 + "…"


@pytest.mark.parametrize("max_running", [0, 9])
def test_a_pass_starts_the_oldest_jobs_of_some_batches(monkeypatch, max_running):
    create_batch(batch_id="import", max_running=max_running)
    for name, age in (("new", 1), ("old", 3), ("middle", 2)):
        Job.objects.create(
            id=name,
            batch="import",
            waits_for_batch=True,
            created_at=timezone.now() - timedelta(seconds=age),
        )
    monkeypatch.setattr(batches, "MAX_STARTED", 2)
    assert start_waiting("import") == 2
    assert Job.objects.get(waits_for_batch=True).pk == "new"
    Job.objects.create(batch="other", waits_for_batch=True)
    monkeypatch.setattr(batches, "MAX_BATCHES", 1)
    assert [batches.start_waiting_jobs() for _ in range(3)] == [1, 1, 0]
