"""The worker command in real processes with real signals."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import django
import httpx
import pytest

from ingestion_progress.pipeline.uploads.names import stable_id
from tests.support.documents import EXAMPLES, long_guide
from tests.support.live import ROOT, LiveProject, live_project

pytestmark = pytest.mark.once

# Half a second on an idle machine, mostly the exit of Python.


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProject]:
    folder = tmp_path_factory.mktemp("worker")
    with live_project(folder, f"sqlite:///{folder / 'progress.sqlite3'}") as live:
        yield live


@pytest.fixture
def project(shared: LiveProject) -> Iterator[LiveProject]:
    """Migrated once; each test has separate jobs and workers."""
    shared.log.unlink(missing_ok=True)
    yield shared
    shared.stop()
    shared.processes.clear()


def rows(project: LiveProject, query: str, *values: str) -> list[dict[str, Any]]:
    """Read with sqlite3, because another Django process would take a second."""
    with closing(sqlite3.connect(project.folder / "progress.sqlite3", timeout=20)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query, values)]


def job(project: LiveProject, job_id: str) -> dict[str, Any]:
    (found,) = rows(project, "SELECT * FROM ingestion_progress_job WHERE id = ?", job_id)
    return found


def task_statuses(project: LiveProject, job_id: str) -> list[str]:
    """Of the tasks of a job, the oldest first."""
    query = (
        "SELECT status FROM django_tasks_database_dbtaskresult WHERE args_kwargs LIKE ? "
        "ORDER BY enqueued_at"
    )
    return [found["status"] for found in rows(project, query, f'%"{job_id}"%')]


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (value := condition()) is not None:
            return value
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def start_worker(project: LiveProject, *options: str, **env: str) -> subprocess.Popen[bytes]:
    before = starts(project)
    command = (sys.executable, "manage.py", "ingestion_worker", "--interval", "0.1", *options)
    worker = project.spawn(*command, **env)
    wait_for(lambda: True if starts(project) > before else None)
    return worker


def starts(project: LiveProject) -> int:
    return project.log.read_text().count("worker_started") if project.log.exists() else 0


def detach(project: LiveProject, path: Path, job_id: str) -> None:
    source = """
        import sys
        from django.core.management import call_command
        call_command("ingest", "--detach", "--job-id", sys.argv[1], sys.argv[2], stdout=sys.stderr)
    """
    project.ask(source, job_id, str(path))


def ended(project: LiveProject, job_id: str):
    def check():
        found = job(project, job_id)
        return found if found["status"] not in {"queued", "running"} else None

    return check


def running(project: LiveProject, job_id: str, percent: float = 27.0):
    def check():
        found = job(project, job_id)
        assert found["status"] in {"queued", "running"}, found
        return found if float(found["reached_percent"]) > percent else None

    return check


def test_worker_ingests_queued_documents_while_searches_run(project: LiveProject):
    start_worker(project)
    detach(project, EXAMPLES / "mkdocs-getting-started.docx", "first")
    assert wait_for(ended(project, "first"))["status"] == "succeeded"
    server = project.serve("uvicorn")
    document = long_guide(project.folder)
    detach(project, document, "long")
    answers = 0
    while (state := job(project, "long"))["status"] in {"queued", "running"}:
        answer = httpx.get(f"{server.url}/api/v1/search", params={"q": "live server"}, timeout=60)
        answers += 1
        assert answer.status_code == 200, answer.text
        names = {item["document_name"] for item in answer.json()["items"]}
        assert "mkdocs-getting-started.docx" in names
        time.sleep(0.2)  # a search opens the whole store: without a pause it slows down the worker
    assert state["status"] == "succeeded", state
    assert answers > 2
    assert points(project, document) == state["qdrant_writes"] > 400


def points(project: LiveProject, path: Path) -> int:
    """The number of stored chunks of a document, counted by another process."""
    source = """
        import sys
        from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
        print(EmbeddedVectors().count(sys.argv[1]))
    """
    return int(project.ask(source, stable_id(path.name)))


def test_sigterm_hands_the_job_back_and_the_next_worker_finishes_it(project: LiveProject):
    worker = start_worker(project, "--grace", "0")
    detach(project, long_guide(project.folder), "stopped")
    wait_for(running(project, "stopped"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    state = job(project, "stopped")
    assert (state["status"], state["attempt"], state["failed_attempts"]) == ("queued", 2, 0)
    assert task_statuses(project, "stopped") == ["FAILED", "READY"]
    start_worker(project)
    assert wait_for(ended(project, "stopped"))["status"] == "succeeded"


def test_sigterm_lets_a_short_job_finish(project: LiveProject):
    worker = start_worker(project, "--grace", "60")
    detach(project, long_guide(project.folder), "short")
    wait_for(running(project, "short", percent=1.0))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert job(project, "short")["status"] == "succeeded"
    assert task_statuses(project, "short") == ["SUCCESSFUL"]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_idle_worker_exits_immediately(project: LiveProject, stop: signal.Signals):
    worker = start_worker(project)
    if hasattr(os, "SCHED_BATCH"):
        assert os.sched_getscheduler(worker.pid) == os.SCHED_BATCH
    worker.send_signal(stop)
    assert worker.wait(60) == 0


def test_worker_continues_after_a_cancelled_job(project: LiveProject):
    start_worker(project)
    detach(project, long_guide(project.folder), "unwanted")
    wait_for(running(project, "unwanted"))
    source = """
        from ingestion_progress.tracker import request_cancellation
        request_cancellation("unwanted")
    """
    project.ask(source)
    assert wait_for(ended(project, "unwanted"))["status"] == "cancelled"
    detach(project, EXAMPLES / "README.md", "next")
    assert wait_for(ended(project, "next"))["status"] == "succeeded"


def test_worker_whose_cancelled_job_does_not_stop_ends_itself(project: LiveProject, tmp_path):
    (tmp_path / "hanging_settings.py").write_text(
        "from progress_project.settings import *\nINGESTION_PROGRESS_TASK = 'hanging.ingest'\n"
    )
    (tmp_path / "hanging.py").write_text(
        "import time\n"
        "from ingestion_progress import track\n"
        "from ingestion_progress.pipeline.tasks import task\n\n"
        "@task\n"
        "def ingest(job_id):\n"
        "    with track('a.txt', job_id=job_id, task=ingest):\n"
        "        time.sleep(600)\n"
    )
    env = {"DJANGO_SETTINGS_MODULE": "hanging_settings", "PYTHONPATH": str(tmp_path)}
    worker = start_worker(
        project, **env, CANCEL_LIMIT_SECONDS="1", LOST_AFTER_SECONDS="10", HEARTBEAT_SECONDS="1"
    )
    source = """
        from ingestion_progress.pipeline.conf import conf
        from ingestion_progress.tracker import queue_job
        from django_tasks_db.models import DBTaskResult
        queue_job("a.txt", job_id="deaf", task="hanging.ingest")
        arguments = {"args": ["deaf"], "kwargs": {}}
        DBTaskResult.objects.create(
            args_kwargs=arguments, task_path="hanging.ingest", queue_name="default",
            backend_name="default",
        )
    """
    project.ask(source)
    wait_for(lambda: True if job(project, "deaf")["status"] == "running" else None)
    project.ask(
        """
        from ingestion_progress.tracker import request_cancellation
        request_cancellation("deaf")
        """
    )
    assert worker.wait(20) == 1
    assert job(project, "deaf")["status"] == "cancelled"
    assert task_statuses(project, "deaf") == ["FAILED"]


TASKS_PACKAGE = "django.tasks" if django.VERSION >= (6,) else "django_tasks"
DUMMY = f"{TASKS_PACKAGE}.backends.dummy.DummyBackend"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"TASKS": {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["a"]}}},
            "take ingestion_progress.pipeline.tasks.ingest_document: Queue 'default' is not valid",
        ),
        (
            {"TASKS": {"default": {"BACKEND": DUMMY}}},
            f"and TASKS names {DUMMY}: start the worker of that",
        ),
        pytest.param(
            {"INSTALLED_APPS": "without django_tasks_db"},
            "is not in INSTALLED_APPS",
            marks=pytest.mark.skipif(django.VERSION >= (6,), reason="a check of Django says it"),
        ),
        ({"INGESTION_PROGRESS_TASK": "nowhere.ingest"}, "nowhere.ingest cannot be loaded"),
        (
            {"INGESTION_PROGRESS_TASK": "elsewhere_tasks.ingest"},
            "elsewhere_tasks.ingest is in slow: run manage.py db_worker --queue-name slow.",
        ),
    ],
    ids=["queue", "backend", "app", "missing", "own"],
)
def test_worker_that_cannot_serve_the_queue_exits_with_a_sentence(
    project, tmp_path, changes, sentence
):
    settings = ["from progress_project.settings import *", ""]
    for name, value in changes.items():
        is_left_out = name == "INSTALLED_APPS"
        kept = "[app for app in INSTALLED_APPS if app != 'django_tasks_db']"
        settings.append(f"{name} = {kept if is_left_out else repr(value)}")
    if "elsewhere_tasks.ingest" in changes.values():
        queues = {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default", "slow"]}
        settings.append(f"TASKS = {{'default': {queues!r}}}")
    (tmp_path / "elsewhere_settings.py").write_text("\n".join(settings))
    (tmp_path / "elsewhere_tasks.py").write_text(
        "from ingestion_progress.pipeline.tasks import task\n\n"
        "@task(queue_name='slow')\ndef ingest(job_id): pass\n"
    )
    worker = subprocess.run(
        [sys.executable, "manage.py", "ingestion_worker", "--drain"],
        cwd=ROOT,
        env=project.env
        | {"DJANGO_SETTINGS_MODULE": "elsewhere_settings", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert worker.returncode == 1
    assert sentence in worker.stderr
    assert worker.stderr.startswith("CommandError: ")
    assert worker.stderr.count("\n") == 1
