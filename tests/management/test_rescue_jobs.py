"""`manage.py rescue_jobs`, with processes that are killed."""

from __future__ import annotations

import io
import os
import signal
import sys
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from ingestion_progress.management.commands.rescue_jobs import Command
from ingestion_progress.models import Job
from ingestion_progress.recovery import RescueCounts
from ingestion_progress.tracker import queue_job
from tests.support.live import LiveProject
from tests.support.tracking import eventually

pytestmark = pytest.mark.once

WORK = """
import sys, time
from ingestion_progress import track
with track("report.pdf", job_id=sys.argv[1], stages=["parsing"], task=sys.argv[2]) as job:
    job.stage("parsing", total=10).advance(3)
    job.flush()
    time.sleep(60)
"""
READ = """
import json, sys
from ingestion_progress.models import Job
job = Job.objects.get(pk=sys.argv[1])
endings = [(each.number, each.status, each.error) for each in job.attempts.all()]
print(json.dumps([job.status, job.attempt, job.writer, endings]))
"""
FORGET_PASSES = (
    "from ingestion_progress.models import RescueWatch; RescueWatch.objects.all().delete()"
)
COUNT_PASSES = (
    "from ingestion_progress.models import RescueWatch; print(RescueWatch.objects.count())"
)
TASK = "shop.tasks.ingest"


def killed(project: LiveProject, job_id: str, task: str = TASK) -> str:
    """Starts the job in a process, and kills it. Returns its writer."""
    process = project.python(WORK, job_id, task)
    project.wait_for_job(job_id)
    writer = project.ask(READ, job_id)[2]
    assert writer.endswith(f"/{process.pid}")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return writer


@pytest.fixture
def job_id(request: pytest.FixtureRequest, database_url: str) -> str:
    return f"{request.node.originalname}-{database_url[:4]}"


def test_job_of_a_process_that_is_said_to_have_died_waits_for_its_next_attempt(project, job_id):
    writer = killed(project, job_id)
    assert project.manage("rescue_jobs", "--died", writer).startswith("1 lost")
    status, attempt, _, endings = project.ask(READ, job_id)
    assert (status, attempt) == ("queued", 2)
    assert endings == [[1, "lost", "Its worker died."]]
    assert "1 lost" not in project.manage("rescue_jobs", "--died", writer)


def test_one_run_finds_a_job_without_heartbeats(project, job_id):
    killed(project, job_id)
    said = project.manage("rescue_jobs", "--once", LOST_AFTER_SECONDS="4")
    assert "1 lost" in said
    assert project.ask(READ, job_id)[:2] == ["queued", 2]


def test_job_without_a_task_is_lost_for_good(project, job_id):
    writer = killed(project, job_id, task="")
    project.manage("rescue_jobs", "--died", writer)
    status, attempt, _, endings = project.ask(READ, job_id)
    assert (status, attempt, len(endings)) == ("lost", 1, 1)


def test_service_ends_at_sigterm(project):
    project.ask(FORGET_PASSES)
    process = project.spawn(sys.executable, "manage.py", "rescue_jobs")
    eventually(lambda: project.ask(COUNT_PASSES), seconds=30)
    process.terminate()
    assert process.wait(20) == 0


@pytest.mark.django_db
def test_tasks_of_starved_jobs_are_queued_on_request():
    task = "ingestion_progress.pipeline.tasks.ingest_document"
    for name in ("starved", "young"):
        queue_job("a.pdf", job_id=name, task=task)
    long_ago = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk="starved").update(created_at=long_ago)
    out = io.StringIO()
    call_command("rescue_jobs", "--starved", stdout=out)
    assert out.getvalue() == "0 lost, 1 queued\n"


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({}, ""),
        ({"queued": 2}, "0 lost, 2 queued\n"),
        ({"lost": 1, "pruned": 3}, "1 lost, 0 queued, 3 old jobs deleted\n"),
    ],
)
def test_a_pass_that_did_something_is_a_line(counts, line):
    out = io.StringIO()
    Command(stdout=out)._report(RescueCounts(**counts))
    assert out.getvalue() == line
