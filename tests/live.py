"""The project as its users run it: real processes on a database of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.servers import free_port

ROOT = Path(__file__).resolve().parent.parent
APPLICATION = "progress_project.asgi:application"
SERVERS = ("daphne", "uvicorn", "granian")


@dataclass
class LiveProject:
    """A folder, a migrated database and the environment that every process of it gets."""

    folder: Path
    env: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def manage(self, *args: str, timeout: float = 60, **env: str) -> str:
        """What `manage.py` printed. Raises CalledProcessError where it failed."""
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
        """Starts a script of its own process, with Django set up."""
        return self.spawn(
            sys.executable,
            "-c",
            f"import django; django.setup()\n{textwrap.dedent(source)}",
            *args,
            **env,
        )

    def output_of(self, source: str, *args: str) -> Any:
        """The JSON that a script of its own process printed."""
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

    def wait_for_job(self, job_id: str, seconds: float = 30) -> None:
        """Until the job runs, or has ended."""
        source = """
            import json, sys, time
            from ingestion_progress.models import Job
            deadline = time.monotonic() + float(sys.argv[2])
            jobs = Job.objects.filter(pk=sys.argv[1]).exclude(status="queued")
            while not (found := jobs.exists()) and time.monotonic() < deadline:
                time.sleep(0.02)
            print(json.dumps(found))
        """
        assert self.output_of(source, job_id, str(seconds)), self.log.read_text()

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
        return process

    @property
    def log(self) -> Path:
        return self.folder / "processes.log"

    def serve(self, server: str = "daphne", **env: str) -> LiveServer:
        """Starts an ASGI server on a free port and waits until it answers."""
        port = free_port()
        process = self.spawn(sys.executable, "-m", *server_command(server, port), **env)
        live = LiveServer(url=f"http://127.0.0.1:{port}", process=process, project=self)
        live.wait_until_ready()
        return live

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass(frozen=True)
class LiveServer:
    url: str
    process: subprocess.Popen[bytes]
    project: LiveProject

    def wait_until_ready(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/admin/login/", timeout=5)
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start:\n{self.project.log.read_text()}")


def server_command(server: str, port: int) -> list[str]:
    """The module and arguments that serve the project on a port of this machine."""
    return {
        "daphne": [
            "progress_project.web",
            "-v",
            "0",
            "-b",
            "127.0.0.1",
            "-p",
            str(port),
            APPLICATION,
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
            APPLICATION,
        ],
        "granian": [
            "granian",
            "--interface",
            "asginl",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers-kill-timeout",
            "1",
            APPLICATION,
        ],
    }[server]


@contextlib.contextmanager
def live_project(folder: Path, database_url: str, **more: str) -> Iterator[LiveProject]:
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "progress_project.settings",
        "DATABASE_URL": database_url,
        "VAR_DIR": str(folder),
        "ENV_FILE": str(folder / "no.env"),
        "DEBUG": "true",
        "PYTHONUNBUFFERED": "1",
        **more,
    }
    project = LiveProject(folder=folder, env=dict(env))
    project.manage("migrate", "--verbosity", "0")
    if "PROGRESS_DATABASE_URL" in more:
        project.manage("migrate", "--verbosity", "0", "--database", "progress")
    try:
        yield project
    finally:
        project.stop()
