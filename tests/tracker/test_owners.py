"""Owners of jobs, and who started each attempt."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, User

from ingestion_progress import track
from ingestion_progress.exceptions import InvalidMetadata
from ingestion_progress.models import Job, JobAttempt
from ingestion_progress.recovery import retry_job
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import fail_job, queue_job, request_cancellation
from ingestion_progress.tracker.attempts import queue_attempts

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def anna() -> User:
    return User.objects.create_user("anna")


@pytest.fixture(autouse=True)
def write_at_once():
    with synchronous_tracking():
        yield


def test_a_job_has_the_owner_and_the_metadata_that_it_was_given(anna):
    with track("a.pdf", job_id="a", owner=anna, metadata={"team": "legal"}):
        job = Job.objects.get()
    assert (job.owner, job.owner_name, job.started_by) == (anna, "anna", "anna")
    assert job.metadata == {"team": "legal"}


def test_a_primary_key_is_an_owner_without_a_name(anna):
    queue_job("a.pdf", job_id="a", owner=anna.pk)
    queue_job("b.pdf", job_id="b", owner=str(anna.pk))
    assert list(Job.objects.values_list("owner", "owner_name")) == [(anna.pk, "")] * 2


@pytest.mark.parametrize("nobody", [None, AnonymousUser()])
def test_a_job_of_nobody_has_no_owner(nobody):
    job = queue_job("a.pdf", owner=nobody)
    assert (job.owner_id, job.owner_name, job.metadata) == (None, "", {})


@pytest.mark.parametrize("owner", ["anna", User(username="not saved"), 1.5j])
def test_an_owner_who_cannot_exist_is_refused(owner):
    with pytest.raises(ValueError, match="owner is"):
        queue_job("a.pdf", owner=owner)
    assert not Job.objects.exists()


def test_invalid_metadata_creates_no_job():
    with pytest.raises(InvalidMetadata):
        queue_job("a.pdf", metadata={"at": object()})
    assert not Job.objects.exists()


def test_a_queued_job_keeps_its_owner_and_metadata_unless_its_task_gives_others(anna):
    bert = User.objects.create_user("bert")
    for job_id in ("kept", "given"):
        queue_job("a.pdf", job_id=job_id, owner=anna, metadata={"n": 1})
    with track("a.pdf", job_id="kept"), track("b", job_id="given", owner=bert, metadata={}):
        found = {job.pk: (job.owner, job.metadata) for job in Job.objects.all()}
    assert found == {"kept": (anna, {"n": 1}), "given": (bert, {})}


def test_only_the_jobs_of_a_user_are_owned_by_them(anna):
    mine = queue_job("a.pdf", owner=anna)
    queue_job("b.pdf")
    assert list(Job.objects.owned_by(anna)) == list(Job.objects.owned_by(anna.pk)) == [mine]
    assert list(Job.objects.filter(owner=anna)) == [mine]
    assert not Job.objects.owned_by(None).exists()
    assert not Job.objects.owned_by(AnonymousUser()).exists()


def test_each_attempt_names_who_started_and_who_cancelled_it(anna):
    queue_job("a.pdf", job_id="a", owner=anna, task="shop.tasks.ingest")
    fail_job("a", "No text.")
    retry_job("a", by="bert")
    assert Job.objects.get().started_by == "bert"
    request_cancellation("a", by="carla")
    retry_job("a", by="")
    people = JobAttempt.objects.order_by("number").values_list("started_by", "cancelled_by")
    assert list(people) == [("anna", ""), ("bert", "carla")]
    job = Job.objects.get()
    assert (job.started_by, job.owner_name) == ("", "anna")


def test_nobody_started_an_attempt_that_began_automatically(anna):
    job = queue_job("a.pdf", owner=anna)
    queue_attempts([job], due_at=None)
    assert Job.objects.get().started_by == ""


def test_jobs_outlive_their_owner(anna):
    queue_job("a.pdf", owner=anna)
    key = anna.pk
    anna.delete()
    job = Job.objects.get()
    assert (job.owner_id, job.owner_name) == (key, "anna")
