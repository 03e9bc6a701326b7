"""A process that ends while its database is down, with an end of a job that is not recorded."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.live import LiveProject, live_project
from tests.support.servers import PostgreSQL, start_postgresql

pytestmark = pytest.mark.once

QUICK = {"LOST_AFTER_SECONDS": "3", "HEARTBEAT_SECONDS": "0.5", "LOG_FORMAT": "json"}
TASK = "ingestion_progress.pipeline.tasks.ingest_document"
# Its jobs end while the database is down. At exit it waits for `sys.argv[2]` seconds.
END_AND_EXIT = """
    import contextlib, pathlib, sys, time
    from django.conf import settings
    settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = 0.5
    from ingestion_progress import track
    from ingestion_progress.exceptions import ProgressUnavailable
    from ingestion_progress.tracker import writer
    folder, writer.EXIT_SECONDS = pathlib.Path(sys.argv[1]), float(sys.argv[2])
    writer.background_writer._exit_seconds = writer.EXIT_SECONDS + 1
    def wait_for(name):
        while not (folder / name).exists():
            time.sleep(0.02)
    jobs = [
        track("a.pdf", job_id=name, stages=["one"], task=task)
        for name, task in (("with-task", sys.argv[3]), ("without", ""))
    ]
    for job in jobs:
        job.start()
    (folder / "started").touch()
    wait_for("is_down")
    for job in jobs:
        job.stage("one").advance(3)
        with contextlib.suppress(ProgressUnavailable):
            job.complete()
    (folder / "ended").touch()
    wait_for("go")
"""
STATES = """
    import json
    from ingestion_progress.models import Job
    print(json.dumps({
        job.pk: [job.status, job.attempt, job.stages.get().processed] for job in Job.objects.all()
    }))
"""
RECORDED = {"with-task": ["succeeded", 1, 3], "without": ["succeeded", 1, 3]}
RESCUED = {"with-task": ["queued", 2, 0], "without": ["lost", 1, 0]}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    server = start_postgresql()
    yield server
    server.server.cleanup()


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def ended_without_database(
    server: PostgreSQL, project: LiveProject, folder: Path, exit_seconds: float
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with two jobs that have ended, while the database is down."""
    process = project.python(END_AND_EXIT, str(folder), str(exit_seconds), TASK, **QUICK)
    wait_for(folder / "started")
    with server.stopped():
        (folder / "is_down").touch()
        wait_for(folder / "ended")
        yield process


def wait_for_states(project: LiveProject, expected: dict[str, Any]) -> None:
    deadline = time.monotonic() + 90
    while (states := project.ask(STATES)) != expected:
        assert time.monotonic() < deadline, (states, project.log.read_text()[-3000:])
        time.sleep(0.2)


def test_an_end_is_recorded_at_exit_when_the_database_is_back_in_time(server, tmp_path):
    with live_project(tmp_path, server.create_database()) as project:
        with ended_without_database(server, project, tmp_path, 60) as process:
            (tmp_path / "go").touch()
            time.sleep(1)  # it waits at exit
            assert process.poll() is None
        assert process.wait(60) == 0, project.log.read_text()
        assert project.ask(STATES) == RECORDED
        assert "tracker_changes_lost_at_exit" not in project.log.read_text()


@pytest.mark.parametrize("is_killed", [False, True], ids=["exit", "kill -9"])
def test_an_end_that_a_process_could_not_record_does_not_leave_its_job_running(
    server, tmp_path, is_killed
):
    with live_project(tmp_path, server.create_database()) as project:
        with ended_without_database(server, project, tmp_path, 1) as process:
            if is_killed:
                process.kill()
            (tmp_path / "go").touch()
            assert process.wait(60) == (-9 if is_killed else 0), project.log.read_text()
        said = [
            record["unrecorded_ends"]
            for record in project.records()
            if record["event"] == "tracker_changes_lost_at_exit"
        ]
        assert said == ([] if is_killed else [["with-task", "without"]])
        project.spawn(sys.executable, "manage.py", "rescue_jobs", **QUICK)
        wait_for_states(project, RESCUED)
