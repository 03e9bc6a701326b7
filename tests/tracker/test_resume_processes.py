"""Items with keys in several processes, and in a process that is killed."""

from __future__ import annotations

import os
import signal
import time
import uuid

import pytest

from tests.support.live import LiveProject

pytestmark = pytest.mark.once

STATE = """
    import json, sys
    from ingestion_progress.models import Job
    from ingestion_progress.tracker.checkpoints import done_keys
    from ingestion_progress.tracker.lifecycle import attempt_of
    job = Job.objects.get(pk=sys.argv[1])
    stage = job.stages.get()
    print(json.dumps({
        "status": job.status, "attempt": job.attempt, "percent": job.reached_percent,
        "processed": stage.processed, "total": stage.total, "failed": stage.failed,
        "done": len(done_keys(attempt_of(job), "one")),
    }))
"""
REPORT = """
    import random, sys
    from ingestion_progress import attach
    first = int(sys.argv[2])
    keys = [*range(first, first + 1000), *(f"text {n}" for n in range(first, first + 300))] * 2
    random.shuffle(keys)
    with attach(sys.argv[1]) as job:
        stage = job.stage("one")
        for key in keys:
            if key == 999:
                stage.record_error("broken", key=key)
            else:
                stage.advance(key=key)
            if key == first:
                job.flush()
"""
INGEST = """
    import sys, time
    from ingestion_progress import track
    with track("a.pdf", job_id=sys.argv[1], stages=["one"], task="no.task") as job:
        with open(sys.argv[2], "a", buffering=1) as done:
            for n in job.stage("one").iterate(range(1000), key=True):
                print(n, file=done)
                time.sleep(float(sys.argv[3]))
"""
LOSE = """
    import json, sys
    from ingestion_progress.models import Job
    from tests.support.rescuing import rescue_now
    Job.objects.filter(pk=sys.argv[1]).update(heartbeat_at="2026-01-01T00:00Z")
    print(json.dumps(rescue_now().lost))
"""


def state_of(project: LiveProject, job_id: str) -> dict:
    return project.ask(STATE, job_id)


@pytest.fixture
def job_id() -> str:
    return uuid.uuid4().hex


def test_keys_that_4_processes_report_at_a_time_count_once(project, job_id, tmp_path):
    stop_file = tmp_path / "stop"
    owner = project.python(
        """
        import pathlib, sys, time
        from ingestion_progress import track
        with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
            while not pathlib.Path(sys.argv[2]).exists():
                time.sleep(0.01)
        """,
        job_id,
        str(stop_file),
    )
    project.wait_for_job(job_id)
    workers = [project.python(REPORT, job_id, str(first)) for first in (0, 250, 500, 750)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0, 0], project.log.read_text()
    stop_file.touch()
    assert owner.wait(30) == 0
    state = state_of(project, job_id)
    assert (state["processed"], state["failed"]) == (1750 + 1050, 1)
    assert state["done"] == 1750 + 1050 - 1


def test_attempt_after_a_killed_one_does_the_rest(project, job_id, tmp_path):
    log = tmp_path / "done"
    log.touch()
    process = project.python(INGEST, job_id, str(log), "0.002")
    deadline = time.monotonic() + 30
    while len(log.read_text().splitlines()) < 300:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done_first = log.read_text().splitlines()

    assert project.ask(LOSE, job_id) == 1
    waiting = state_of(project, job_id)
    assert (waiting["status"], waiting["attempt"], waiting["total"]) == ("queued", 2, 1000)
    assert 0 < waiting["processed"] == waiting["done"] <= len(done_first)

    assert project.python(INGEST, job_id, str(log), "0").wait(30) == 0
    done = [int(line) for line in log.read_text().splitlines()]
    assert sorted(set(done)) == list(range(1000))
    assert len(done) == len(done_first) + 1000 - waiting["done"]
    state = state_of(project, job_id)
    assert (state["status"], state["processed"], state["total"]) == ("succeeded", 1000, 1000)
