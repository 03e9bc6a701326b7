"""The project as its users run it: real processes on a separate database."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg

from tests.support.console import Console
from tests.support.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
APPLICATION = "progress_project.asgi:application"
# `TEST_SERVERS=uvicorn` leaves two servers out, for a run that tests them separately.
SERVERS = tuple(os.environ.get("TEST_SERVERS", "daphne uvicorn granian").split())
MIGRATED = "migrated"
# The processes of all projects, the newest last.
_spawned: list[subprocess.Popen[bytes]] = []


@dataclass(eq=False)
class LiveProject:
    """A folder, a migrated database and the environment that every process of it gets."""

    folder: Path
    env: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _console: Console | None = None

    def manage(self, *args: str, timeout: float = 60, **env: str) -> str:
        """What `manage.py` printed. Raises CalledProcessError if it failed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=ROOT,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
            done.check_returncode()
        return done.stdout

    def python(self, source: str, *args: str, **env: str) -> subprocess.Popen[bytes]:
        """Starts a script in a separate process, with Django set up."""
        return self.spawn(
            sys.executable,
            "-c",
            f"import django; django.setup()\n{textwrap.dedent(source)}",
            *args,
            **env,
        )

    def ask(self, source: str, *args: str) -> Any:
        """Runs a script in the project's `Console`. Returns the JSON that it printed."""
        if self._console is None:
            log = self.folder / "console.log"
            # It holds no connection between two scripts, because tests count connections. Some
            # servers that see its jobs regard a job as lost after two seconds.
            env = self.env | {"WAKEUPS": "off", "HEARTBEAT_SECONDS": "0.5"}
            self._console = Console(cwd=ROOT, env=env, log=log)
        return self._console.ask(source, *args)

    def output_of(self, source: str, *args: str) -> Any:
        """Runs a script in a separate process. Returns the JSON that it printed."""
        script = f"import django; django.setup()\n{textwrap.dedent(source)}"
        done = subprocess.run(
            [sys.executable, "-c", script, *args],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
            done.check_returncode()
        return json.loads(done.stdout)

    def queue_job(self, job_id: str = "", *stages: str) -> str:
        """Queues a job and returns its id."""
        source = """
            import json, sys
            from ingestion_progress.tracker import queue_job
            job_id, *stages = sys.argv[1:]
            given = {"stages": stages} if stages else {}
            print(json.dumps(queue_job("report.pdf", job_id=job_id, **given).pk))
        """
        return str(self.ask(source, job_id or uuid.uuid4().hex, *stages))

    def wait_for_job(self, job_id: str, seconds: float = 60) -> None:
        """Waits until the job runs or has ended."""
        source = """
            import json, sys, time
            from ingestion_progress.models import Job
            deadline = time.monotonic() + float(sys.argv[2])
            jobs = Job.objects.filter(pk=sys.argv[1]).exclude(status="queued")
            while not (found := jobs.exists()) and time.monotonic() < deadline:
                time.sleep(0.02)
            print(json.dumps(found))
        """
        assert self.ask(source, job_id, str(seconds)), self.log.read_text()

    def spawn(self, *command: str, **env: str) -> subprocess.Popen[bytes]:
        """Starts a process that ends, at the latest, with the test; its output is in `log`."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.env | env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        _spawned.append(process)
        return process

    @property
    def log(self) -> Path:
        return self.folder / "processes.log"

    def records(self, since: int = 0) -> list[dict[str, Any]]:
        """What its processes logged as JSON, after the first characters of the log."""
        lines = self.log.read_text()[since:].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def serve(
        self, server: str = "daphne", *, port: int = 0, application: str = APPLICATION, **env: str
    ) -> LiveServer:
        """Starts an ASGI server, on a free port if none is given, and waits until it answers."""
        port = port or free_port()
        command = server_command(server, port, application)
        process = self.spawn(sys.executable, "-m", *command, **env)
        live = LiveServer(url=f"http://127.0.0.1:{port}", process=process, project=self)
        live.wait_until_ready()
        return live

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self._console is not None:
            self._console.close()
            self._console = None


@dataclass(frozen=True)
class LiveServer:
    url: str
    process: subprocess.Popen[bytes]
    project: LiveProject

    def wait_until_ready(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/admin/login/", timeout=30)
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start:\n{self.project.log.read_text()}")


def server_command(server: str, port: int, application: str = APPLICATION) -> list[str]:
    """The module and arguments that serve the project on a port of this machine."""
    return {
        "daphne": [
            "ingestion_progress.asgi.servers.daphne",
            "-v",
            "0",
            "-b",
            "127.0.0.1",
            "-p",
            str(port),
            application,
        ],
        "uvicorn": [
            "uvicorn",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--lifespan",
            "off",
            "--timeout-graceful-shutdown",
            "1",
            "--http",
            "ingestion_progress.asgi.servers.uvicorn:Protocol",
            application,
        ],
        "granian": [
            "granian",
            "--interface",
            "asginl",
            "--http",
            "1",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers-kill-timeout",
            "1",
            application,
        ],
    }[server]


@contextlib.contextmanager
def none_outlives() -> Iterator[None]:
    """Ends the processes that are started in the block at its end.

    Otherwise a server or a writer would use a core during the following tests.
    """
    before = len(_spawned)
    yield
    while len(_spawned) > before:
        process = _spawned.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            os.killpg(process.pid, signal.SIGCONT)  # if the test has stopped it


def environment_of(folder: Path, database_url: str) -> dict[str, str]:
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "progress_project.settings",
        "DATABASE_URL": database_url,
        "VAR_DIR": str(folder),
        "ENV_FILE": str(folder / "no.env"),
        "DEBUG": "true",
        "PYTHONUNBUFFERED": "1",
    }


@contextlib.contextmanager
def live_project(folder: Path, database_url: str, **more: str) -> Iterator[LiveProject]:
    project = LiveProject(folder=folder, env=environment_of(folder, database_url) | more)
    if "PROGRESS_DATABASE_URL" in more:
        migrate(project)
        project.manage("migrate", "--verbosity", "0", "--database", "progress")
    elif database_url.startswith("sqlite"):
        file = Path(urlsplit(database_url).path.removeprefix("/"))
        shutil.copy(migrated_file(), Path("/") / file)
    else:
        copy_migrated(project, database_url)
    try:
        yield project
    finally:
        project.stop()


def migrate(project: LiveProject) -> None:
    project.manage("migrate", "--verbosity", "0")


@functools.cache
def migrated_file() -> Path:
    """A SQLite file to copy: migrating takes two seconds."""
    folder = Path(tempfile.mkdtemp(prefix="ingestion-progress-sqlite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / f"{MIGRATED}.sqlite3"
    migrate(LiveProject(folder=folder, env=environment_of(folder, f"sqlite:///{file}")))
    return file


def copy_migrated(project: LiveProject, database_url: str) -> None:
    """Migrates the first database of a PostgreSQL server, and copies it into the next ones."""
    socket_dir, _, name = urlsplit(database_url).path.removeprefix("/").rpartition("/")
    with psycopg.connect(
        host=f"/{socket_dir}", user="postgres", dbname="postgres", autocommit=True
    ) as server:
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        if server.execute(query, [MIGRATED]).fetchone():
            server.execute(f"DROP DATABASE {name}")
            server.execute(f"CREATE DATABASE {name} TEMPLATE {MIGRATED}")
        else:
            migrate(project)
            server.execute(f"CREATE DATABASE {MIGRATED} TEMPLATE {name}")
