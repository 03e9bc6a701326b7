"""The tracker in several processes, killed processes, and with a database that is down."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.live import ROOT, LiveProject, live_project
from tests.support.servers import start_postgresql

pytestmark = pytest.mark.once

READ = """
import json, sys
from django.utils import timezone
from ingestion_progress.models import Job
from ingestion_progress.wire.snapshots import load_snapshot
snapshot = load_snapshot(sys.argv[1])
print(json.dumps({
    "status": snapshot.job.status,
    "attempt": snapshot.job.attempt,
    "error": snapshot.job.error,
    "metrics": snapshot.progress(timezone.now()).metrics.model_dump(),
    "stages": {stage.name: stage.processed for stage in snapshot.stages},
}))
"""


def read(project: LiveProject, job_id: str) -> dict:
    """The job as another process reads it."""
    return project.ask(READ, job_id)


def finished(process, seconds: float = 60) -> int:
    return process.wait(seconds)


@pytest.fixture
def job_id() -> str:
    return uuid.uuid4().hex


def test_sums_of_8_threads_in_each_of_4_processes_are_exact(project, job_id):
    worker = """
        import sys, threading
        from ingestion_progress import attach
        with attach(sys.argv[1]) as job:
            stage = job.stage("one")
            def work():
                for _ in range(1000):
                    stage.advance()
                    job.count(entities_total=2)
            threads = [threading.Thread(target=work) for _ in range(8)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
    """
    owner = project.python(
        """
        import sys, time
        from ingestion_progress import track
        from ingestion_progress.models import Stage
        with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
            job.stage("one", total=32000).start()
            while Stage.objects.get(job=sys.argv[1]).processed < 32000:
                time.sleep(0.05)
        """,
        job_id,
    )
    project.wait_for_job(job_id)
    workers = [project.python(worker, job_id) for _ in range(4)]
    assert [finished(worker, 60) for worker in workers] == [0, 0, 0, 0]
    assert finished(owner) == 0
    state = read(project, job_id)
    assert state["stages"] == {"one": 32000}
    assert state["metrics"]["entities_total"] == 64000
    assert state["status"] == "succeeded"


def test_nothing_is_lost_when_a_process_exits_without_leaving_the_block(project, job_id):
    process = project.python(
        """
        import sys
        from ingestion_progress import track
        job = track("a.pdf", job_id=sys.argv[1], stages=["one"])
        job.start()
        job.stage("one").advance(1234)
        """,
        job_id,
    )
    assert finished(process) == 0
    assert read(project, job_id)["stages"] == {"one": 1234}


TASKS_OF_A_POOL = """
from {module} import attach

def count(job_id):
    with attach(job_id) as job:
        job.stage("one").advance()
"""
SPAWN_POOL = """
import multiprocessing, sys, django
if __name__ == "__main__":
    django.setup()
    from ingestion_progress import track
    from pool_tasks import count
    with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
        job.stage("one", total=4).start()
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            pool.map_async(count, [sys.argv[1]] * 4).get(60)
"""


@pytest.mark.parametrize("module", ["ingestion_progress", "ingestion_progress.tracker"])
def test_a_spawn_pool_may_import_the_tracker_at_the_top_of_a_module(project, job_id, module):
    """Its processes import the module of the task before anybody has called `django.setup()`."""
    (project.folder / "pool_tasks.py").write_text(TASKS_OF_A_POOL.replace("{module}", module))
    script = project.folder / "pool.py"
    script.write_text(SPAWN_POOL)
    process = project.spawn(sys.executable, str(script), job_id, PYTHONPATH=str(ROOT))
    assert finished(process, 90) == 0
    assert read(project, job_id)["stages"] == {"one": 4}


def test_children_of_fork_and_multiprocessing_write_what_they_counted(project, job_id):
    process = project.python(
        """
        import multiprocessing, os, sys
        from ingestion_progress import attach, track
        from django.db import connections
        def count(n):
            attach(sys.argv[1]).stage("one").advance(n)
        with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
            stage = job.stage("one")
            stage.advance(1)  # pending, maybe, when the first child gets a copy of it
            connections.close_all()
            child = multiprocessing.get_context("fork").Process(target=count, args=[10])
            child.start()
            child.join()
            pid = os.fork()
            if pid == 0:
                with attach(sys.argv[1]) as other:
                    other.stage("one").advance(100)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            stage.advance(1000)
            child = multiprocessing.get_context("fork").Process(target=stage.advance, args=[10000])
            child.start()
            child.join()
        """,
        job_id,
    )
    assert finished(process) == 0
    assert read(project, job_id)["stages"] == {"one": 11111}


def test_a_killed_writer_leaves_a_job_that_is_found_lost(project, job_id):
    process = project.python(
        """
        import sys, time
        from ingestion_progress import track
        with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
            with job.stage("one", total=100) as stage:
                for _ in stage.iterate(range(100)):
                    time.sleep(0.05)
        """,
        job_id,
    )
    project.wait_for_job(job_id)
    os.kill(process.pid, signal.SIGKILL)
    finished(process)
    assert read(project, job_id)["status"] == "running"
    lost = project.ask(
        """
        import json, sys
        from ingestion_progress.models import Job
        from tests.support.rescuing import rescue_now
        Job.objects.filter(pk=sys.argv[1]).update(heartbeat_at="2026-01-01T00:00Z")
        print(json.dumps(rescue_now().lost))
        """,
        job_id,
    )
    assert lost >= 1
    assert read(project, job_id)["status"] == "lost"


@contextmanager
def locked(project: LiveProject) -> Iterator[None]:
    """Holds SQLite's write lock from this process."""
    connection = sqlite3.connect(project.folder / "progress.sqlite3", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


COUNT_UNTIL_STOPPED = """
    import json, pathlib, sys, time
    from django.conf import settings
    settings.DATABASES["default"]["OPTIONS"] |= json.loads(sys.argv[3])
    from ingestion_progress import track
    stop_file = pathlib.Path(sys.argv[2])
    counted, slowest = 0, 0
    with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
        stage = job.stage("one")
        while not stop_file.exists():
            before = time.monotonic()
            stage.advance()
            slowest = max(slowest, time.monotonic() - before)
            counted += 1
            time.sleep(0.001)
        job.set_metrics(qdrant_writes=counted)
    assert slowest < 0.5, f"advance() waited {slowest} s for the database"
"""


def assert_all_was_counted(project: LiveProject, job_id: str) -> None:
    state = read(project, job_id)
    assert state["status"] == "succeeded"
    assert state["stages"]["one"] == state["metrics"]["qdrant_writes"] > 100
    assert "tracker_database_down" in project.log.read_text()


def test_a_locked_database_slows_nothing_and_loses_nothing(sqlite_project, job_id, tmp_path):
    """The lock is held for several times longer than SQLite waits for it."""
    stop_file = tmp_path / "stop"
    process = sqlite_project.python(COUNT_UNTIL_STOPPED, job_id, str(stop_file), '{"timeout": 0.1}')
    sqlite_project.wait_for_job(job_id)
    with locked(sqlite_project):
        time.sleep(1.5)
    stop_file.touch()
    assert finished(process) == 0, sqlite_project.log.read_text()
    assert_all_was_counted(sqlite_project, job_id)


@pytest.mark.parametrize("timeout_seconds", [1, 20])
def test_a_file_that_is_locked_for_longer_than_a_lease_costs_no_count_and_no_job(
    tmp_path, job_id, timeout_seconds
):
    """SQLite waits for a shorter or a longer time than the lock is held."""
    quick = {"LOST_AFTER_SECONDS": "2", "HEARTBEAT_SECONDS": "0.5"}
    stop_file = tmp_path / "stop"
    with live_project(tmp_path, f"sqlite:///{tmp_path / 'progress.sqlite3'}") as live:
        live.spawn(sys.executable, "manage.py", "rescue_jobs", **quick)
        options = json.dumps({"timeout": timeout_seconds})
        process = live.python(COUNT_UNTIL_STOPPED, job_id, str(stop_file), options, **quick)
        live.wait_for_job(job_id)
        time.sleep(3)  # heartbeats have been watched for a lease
        with locked(live):
            time.sleep(5)
        time.sleep(3)
        stop_file.touch()
        assert finished(process) == 0, live.log.read_text()
        state = read(live, job_id)
        assert (state["status"], state["attempt"]) == ("succeeded", 1)
        assert state["stages"]["one"] == state["metrics"]["qdrant_writes"] > 100


def test_a_database_server_that_is_restarted_slows_nothing_and_loses_nothing(tmp_path, job_id):
    server = start_postgresql()
    with live_project(tmp_path, server.create_database()) as live:
        process = live.python(COUNT_UNTIL_STOPPED, job_id, str(tmp_path / "stop"), "{}")
        live.wait_for_job(job_id)
        with server.stopped():
            time.sleep(1)
        (tmp_path / "stop").touch()
        assert finished(process) == 0, live.log.read_text()
        assert_all_was_counted(live, job_id)
    server.server.cleanup()


def test_a_finish_that_the_database_does_not_take_raises_a_clear_error(
    sqlite_project, job_id, tmp_path
):
    process = sqlite_project.python(
        """
        import pathlib, sys, time
        from django.conf import settings
        settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = 0.3
        settings.DATABASES["default"]["OPTIONS"]["timeout"] = 0.1
        from ingestion_progress import track
        from ingestion_progress.exceptions import ProgressUnavailable
        job = track("a.pdf", job_id=sys.argv[1], stages=["one"])
        job.start()
        while not pathlib.Path(sys.argv[2]).exists():
            time.sleep(0.01)
        try:
            job.complete()
        except ProgressUnavailable as error:
            assert "did not confirm the end of job" in str(error), error
            sys.exit(7)
        """,
        job_id,
        str(tmp_path / "go"),
    )
    sqlite_project.wait_for_job(job_id)
    with locked(sqlite_project):
        (tmp_path / "go").touch()
        assert finished(process) == 7, sqlite_project.log.read_text()


def test_leaving_an_attach_block_raises_no_other_error_while_the_database_is_down(
    sqlite_project, job_id
):
    process = sqlite_project.python(
        """
        import asyncio, sqlite3, sys
        from django.conf import settings
        settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = 0.3
        settings.DATABASES["default"]["OPTIONS"]["timeout"] = 0.1
        from ingestion_progress import attach, track
        def leave(job, error=None):
            with job:
                job.stage("one").advance()
                if error is not None:
                    raise error
        async def aleave(job, error=None):
            async with job:
                job.stage("one").advance()
                if error is not None:
                    raise error
        def raised_by(act):
            try:
                act()
            except Exception as error:
                return error
        track("a.pdf", job_id=sys.argv[1], stages=["one"]).start()
        attached = [attach(sys.argv[1]) for _ in range(4)]
        [job.start() for job in attached]
        lock = sqlite3.connect(settings.DATABASES["default"]["NAME"], isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        own = KeyError("c-9")
        raised = [
            raised_by(lambda: leave(attached[0])),
            raised_by(lambda: asyncio.run(aleave(attached[1]))),
            raised_by(lambda: leave(attached[2], own)),
            raised_by(lambda: asyncio.run(aleave(attached[3], own))),
        ]
        lock.close()
        assert raised == [None, None, own, own], raised
        """,
        job_id,
    )
    assert finished(process) == 0, sqlite_project.log.read_text()
    assert "tracker_left_unwritten" in sqlite_project.log.read_text()
    assert read(sqlite_project, job_id)["stages"] == {"one": 4}


def test_a_sqlite_file_of_its_own_shows_progress_inside_the_callers_transaction(tmp_path, job_id):
    main, progress = (f"sqlite:///{tmp_path / name}.sqlite3" for name in ("main", "progress"))
    with live_project(tmp_path, main, PROGRESS_DATABASE_URL=progress) as live:
        process = live.python(
            """
            import pathlib, sys, time
            from django.contrib.auth.models import User
            from django.db import transaction
            from ingestion_progress import track
            try:
                with transaction.atomic():
                    User.objects.create(username="never")
                    with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
                        with job.stage("one", total=10) as stage:
                            stage.advance(4)
                            while not pathlib.Path(sys.argv[2]).exists():
                                time.sleep(0.01)
                        raise RuntimeError("rolled back")
            except RuntimeError:
                assert not User.objects.exists()
            """,
            job_id,
            str(tmp_path / "go"),
        )
        live.wait_for_job(job_id)
        deadline = time.monotonic() + 60
        while read(live, job_id)["stages"]["one"] < 4:
            assert time.monotonic() < deadline
        (tmp_path / "go").touch()
        assert finished(process) == 0, live.log.read_text()
        state = read(live, job_id)
        assert (state["status"], state["error"]) == ("failed", "rolled back")
