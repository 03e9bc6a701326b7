"""What a job waits for, as readers see it."""

from __future__ import annotations

import pytest
from django.utils import timezone

from ingestion_progress import track
from ingestion_progress.exceptions import JobCancelled
from ingestion_progress.models import Job, JobEvent
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.recovery import retry_job
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker.waits import LOG_SECONDS, Waits
from ingestion_progress.wire.snapshots import load_snapshot

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

MODEL, STORE = "the model at a.example.org", "the store at b.example.org"


@pytest.fixture(autouse=True)
def written_at_once():
    with synchronous_tracking():
        yield


def shown(job) -> str:
    return load_snapshot(job.job_id).state(timezone.now()).waiting_for


def messages() -> list[str]:
    return list(JobEvent.objects.exclude(stage="").values_list("message", flat=True))


def test_a_service_is_shown_during_the_block_and_is_in_the_log():
    with track("a.pdf", stages=["one"]) as job:
        with job.waiting(MODEL, stage="one"):
            snapshot = load_snapshot(job.job_id)
            assert snapshot.state(timezone.now()).model_dump()["waiting_for"] == MODEL
            assert snapshot.forecast(timezone.now()).reason == "waiting"
        assert "waiting_for" not in load_snapshot(job.job_id).state(timezone.now()).model_dump()
    assert messages() == [f"Waiting for {MODEL}.", f"No longer waiting for {MODEL}."]


def test_the_name_of_a_service_is_stored_as_any_other_name():
    with track("a.pdf", stages=["one"]) as job, job.waiting("a\0" + "b" * 300):
        name = Job.objects.get().waiting_for
        assert name.startswith("ab")
        assert "\0" not in name
        assert len(name) == MAX_NAME_LENGTH


def test_the_oldest_of_several_waits_is_shown():
    with track("a.pdf", stages=["one"]) as job:
        first, second, again = (job.waiting(name) for name in (MODEL, STORE, MODEL))
        for wait in (first, second, again):
            wait.__enter__()
        assert shown(job) == MODEL
        first.__exit__(None, None, None)
        assert shown(job) == STORE
        second.__exit__(None, None, None)
        assert shown(job) == MODEL
        again.__exit__(None, None, None)
        assert shown(job) == ""


def test_short_waits_that_follow_each_other_are_logged_once_a_minute():
    now = 1000.0
    with track("a.pdf", stages=["one"]) as job:
        job._waits = Waits(lambda: now)
        for seconds in (0, LOG_SECONDS / 2, LOG_SECONDS):
            now = 1000.0 + seconds
            with job.waiting(MODEL, stage="one"):
                assert shown(job) == MODEL
    assert len(messages()) == 4


def test_a_job_that_ends_while_it_waits_waits_for_nothing_and_neither_does_its_next_attempt():
    with pytest.raises(JobCancelled), track("a.pdf", stages=["one"], task="a.b") as job:
        with job.waiting(MODEL, stage="one"):
            raise JobCancelled(job.job_id)
    assert shown(job) == ""
    Job.objects.update(waiting_for=MODEL)  # of a process that was killed meanwhile
    retry_job(job.job_id)
    assert Job.objects.get().waiting_for == ""
