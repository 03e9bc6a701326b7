"""The recipes of docs/queues.md: the page shows the files, and each runs with real workers."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.live import ROOT
from tests.support.servers import redis_server, require_redis
from tests.test_docs import blocks

pytestmark = pytest.mark.once

EXAMPLES = ROOT / "examples" / "queues"
STATE = """
    SELECT job.status, attempt, SUM(processed), SUM(total), writer
    FROM ingestion_progress_job AS job JOIN ingestion_progress_stage ON job_id = job.id
    WHERE job.id = ? GROUP BY job.id
"""


@dataclass
class Project:
    """The project of the examples, on a database of its own."""

    database: Path
    redis_url: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "settings",
            "EXAMPLES_DATABASE": str(self.database),
            "REDIS_URL": self.redis_url,
            "PYTHONPATH": os.pathsep.join((str(EXAMPLES), str(ROOT))),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def python(self, *args: str) -> str:
        command = [sys.executable, *args]
        done = subprocess.run(
            command, cwd=EXAMPLES, env=self.env, capture_output=True, text=True, check=False
        )
        assert not done.returncode, done.stdout + done.stderr
        return done.stdout

    def start(self, module: str) -> str:
        """The id of the job that a recipe has queued."""
        source = f"import django; django.setup(); import {module}; print({module}.start('a.pdf'))"
        return self.python("-c", source).strip()

    def spawn(self, *args: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *args],
                cwd=EXAMPLES,
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    @property
    def log(self) -> Path:
        return self.database.with_suffix(".log")

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()

    def state(self, job_id: str) -> list[Any]:
        """Status, attempt, processed and total of its stages, and writer."""
        with closing(sqlite3.connect(self.database, timeout=20)) as database:
            return list(database.execute(STATE, [job_id]).fetchone())

    def wait_for(self, job_id: str, *statuses: str, processed: int = 0) -> list[Any]:
        deadline = time.monotonic() + 120
        while (state := self.state(job_id))[0] not in statuses or state[2] < processed:
            assert time.monotonic() < deadline, (state, self.log.read_text()[-3000:])
            time.sleep(0.1)
        return state


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    require_redis()
    with redis_server() as redis:
        project = Project(tmp_path_factory.mktemp("queues") / "examples.sqlite3", redis.url)
        project.python("manage.py", "migrate", "--verbosity", "0")
        yield project


@pytest.fixture
def project(shared: Project) -> Iterator[Project]:
    yield shared
    shared.stop()


def test_page_shows_the_recipes_as_they_are():
    shown = {}
    for block in blocks(ROOT / "docs" / "queues.md", "python"):
        head, _, source = block.partition("\n")
        if match := re.fullmatch(r"# examples/queues/(\w+\.py)", head):
            shown[match[1]] = source
    kept = {path.name: path.read_text() for path in EXAMPLES.glob("*.py")}
    assert shown == {name: kept[name] for name in shown}
    assert {name for name in kept if name.startswith("by_")} <= shown.keys()


def test_django_tasks(project: Project):
    job_id = project.start("by_django_tasks")
    project.spawn("manage.py", "db_worker", "--no-reload", "--interval", "0.1")
    assert project.wait_for(job_id, "succeeded")[:4] == ["succeeded", 1, 40, 40]


def test_celery(project: Project):
    celery_worker(project)
    job_id = project.start("by_celery")
    assert project.wait_for(job_id, "succeeded")[:4] == ["succeeded", 1, 40, 40]


def test_celery_with_a_chord(project: Project):
    celery_worker(project)
    job_id = project.start("by_celery_chord")
    assert project.wait_for(job_id, "succeeded")[:4] == ["succeeded", 1, 20, 20]


@pytest.mark.parametrize("rescuer", ["rescue_jobs", "beat"])
def test_celery_continues_after_its_worker_was_killed(project: Project, rescuer: str):
    worker = celery_worker(project)
    job_id = project.start("by_celery")
    writer = project.wait_for(job_id, "running", processed=1)[4]
    os.killpg(worker.pid, signal.SIGKILL)
    project.python("manage.py", "rescue_jobs", "--died", writer)
    celery_worker(project)
    if rescuer == "beat":
        schedule = str(project.database.with_name("schedule"))
        project.spawn("-m", "celery", "--app", "by_celery", "beat", "--schedule", schedule)
    else:
        project.spawn("manage.py", "rescue_jobs")
    assert project.wait_for(job_id, "succeeded")[:4] == ["succeeded", 2, 40, 40]


def celery_worker(project: Project) -> subprocess.Popen[bytes]:
    return project.spawn("-m", "celery", "--app", "by_celery", "worker", "--concurrency", "2")


def test_rq(project: Project):
    project.spawn("rq_worker.py")
    job_id = project.start("by_rq")
    assert project.wait_for(job_id, "succeeded")[:4] == ["succeeded", 1, 40, 40]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(project: Project, method: str):
    job_id = project.python("by_processes.py", method).strip()
    assert project.state(job_id)[:4] == ["succeeded", 1, 80, 80]


def test_async(project: Project):
    for job_id in project.python("by_async.py").split():
        assert project.state(job_id)[:4] == ["succeeded", 1, 40, 40]
