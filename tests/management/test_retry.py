from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker import queue_job

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ENDED = ["succeeded", "failed", "cancelled", "lost"]


@pytest.fixture(autouse=True)
def batch() -> None:
    """A job of each final status, and one that succeeded with failed items."""
    now = timezone.now()
    for status in [*ENDED, "partial"]:
        queue_job(f"{status}.pdf", job_id=status, batch="monday", task="shop.tasks.ingest")
        known = JobStatus.SUCCEEDED if status == "partial" else status
        Job.objects.filter(pk=status).update(status=known, finished_at=now)
    Job.objects.filter(pk="partial").update(failed_items=2)


def retried(*args: str) -> set[str]:
    call_command("retry", *args)
    return set(Job.objects.queued().values_list("pk", flat=True))


def test_named_jobs_are_queued_whatever_their_end(capsys):
    assert retried(*ENDED, "failed") == set(ENDED)
    assert capsys.readouterr().out.splitlines() == [f"{name} is queued again." for name in ENDED]


@pytest.mark.parametrize(
    ("user", "by"),
    [(lambda: "anna", "anna (command line)"), (lambda: {}["LOGNAME"], "command line")],
    ids=["named", "without-a-name"],
)
def test_the_log_names_the_user_of_the_command(monkeypatch, user, by):
    monkeypatch.setattr("getpass.getuser", user)
    retried("failed")
    messages = Job.objects.get(pk="failed").events.values_list("message", flat=True)
    assert f"Retry requested by {by}" in messages


@pytest.mark.parametrize("choice", [("--batch", "monday"), ("--failed",)])
def test_many_are_those_that_failed_or_were_lost_and_cancelled_ones_on_request(choice):
    assert retried(*choice) == {"failed", "lost"}
    assert retried(*choice, "--cancelled") == {"failed", "lost", "cancelled"}


def test_failed_items_of_a_batch_are_those_of_jobs_that_succeeded():
    assert retried("--batch", "monday", "--only", "failed") == {"partial"}


def test_other_batches_are_left_alone(capsys):
    assert retried("--batch", "tuesday") == set()
    assert capsys.readouterr().out == "There is nothing to retry.\n"


def test_jobs_that_ended_before_are_left_alone():
    Job.objects.filter(pk="lost").update(finished_at=timezone.now() - timedelta(days=2))
    assert retried("--failed", "--since", "1d") == {"failed"}
    assert retried("--failed", "--since", "3d") == {"failed", "lost"}


def test_refused_jobs_are_named_and_the_others_are_queued(capsys):
    queue_job("a.pdf", job_id="waiting", task="shop.tasks.ingest")
    with pytest.raises(CommandError, match="Not retried: 2"):
        call_command("retry", "failed", "waiting", "no\x1bbody")
    out, err = capsys.readouterr()
    assert out == "failed is queued again.\n"
    assert err.splitlines() == [
        "Job waiting is queued and cannot be retried; only an ended job can.",
        "Job not found: no body",
    ]


@pytest.mark.parametrize(
    "args",
    [(), ("failed", "--failed"), ("--batch", "a", "--failed"), ("--batch", "a/b")]
    + [("--failed", "--since", since) for since in ("1", "d", "1y", "-1d")],
)
def test_wrong_arguments_are_refused(args):
    with pytest.raises(CommandError):
        call_command("retry", *args)
    assert not Job.objects.queued().exists()
