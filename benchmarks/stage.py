"""The environment of a measurement: a folder, databases, and servers on a separate core."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.candidates import Candidate
from benchmarks.client import LoadClient, load_command, streams
from benchmarks.processes import ROOT, SERVER_CPU, Server, running
from tests.support.servers import free_port, start_postgresql

WRITE_INTERVAL_SECONDS = 0.1
"""Several changes in a throttle interval, as a running job makes them."""


@dataclass(frozen=True)
class Stage:
    folder: Path

    @functools.cached_property
    def load(self) -> list[str]:
        return load_command(self.folder)

    @functools.cached_property
    def sqlite_url(self) -> str:
        return self._migrated(f"sqlite:///{self.folder / 'progress.sqlite3'}")

    @functools.cached_property
    def postgresql_url(self) -> str:
        return self._migrated(start_postgresql().create_database())

    def environment(self, database: str) -> dict[str, str]:
        """A production configuration without TLS and login."""
        if not database:
            return {}
        url = self.postgresql_url if database == "postgresql" else self.sqlite_url
        return self.environment_on(url)

    def environment_on(self, url: str) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "progress_project.settings",
            "DATABASE_URL": url,
            "VAR_DIR": str(self.folder),
            "ENV_FILE": str(self.folder / "no.env"),
            "DEBUG": "false",
            "PUBLIC": "true",
            "HTTPS": "false",
            "SECRET_KEY": "only-for-benchmarks-" + "0123456789" * 4,
            "LOG_FORMAT": "json",
        }

    def _migrated(self, url: str) -> str:
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=ROOT,
            env=os.environ | self.environment_on(url),
            check=True,
        )
        return url

    def signed_in(self, count: int) -> Path:
        """Creates users with sessions in PostgreSQL. Returns a file with the header of each."""
        path = self.folder / "headers"
        with path.open("wb") as headers:
            subprocess.run(
                [sys.executable, "-m", "benchmarks.viewers", str(count)],
                cwd=ROOT,
                env=os.environ | self.environment("postgresql"),
                stdout=headers,
                check=True,
            )
        return path

    @contextlib.contextmanager
    def serve(
        self,
        candidate: Candidate,
        *,
        instrumented: bool = False,
        **env: str,
    ) -> Iterator[Server]:
        port = free_port()
        env = self.environment(candidate.database) | env
        log = self.folder / f"{candidate.name}.log"
        log.write_bytes(b"")
        command = candidate.command(port, instrumented=instrumented)
        with running(command, env, log, cpu=SERVER_CPU) as process:
            server = Server(process, port, log)
            server.wait_until_listening()
            yield server

    @contextlib.contextmanager
    def writer(
        self, candidate: Candidate, interval_seconds: float = WRITE_INTERVAL_SECONDS, **env: str
    ) -> Iterator[None]:
        """A process that runs the job, for candidates that read one."""
        if not candidate.database:
            yield
            return
        command = [sys.executable, "-m", "benchmarks.writer", str(interval_seconds)]
        environment = self.environment(candidate.database) | env
        with running(command, environment, self.folder / "writer.log") as process:
            time.sleep(1.5)
            if process.poll() is not None:
                raise RuntimeError((self.folder / "writer.log").read_text()[-2000:])
            yield

    @contextlib.contextmanager
    def signal(self) -> Iterator[Path]:
        """A file that does not exist yet, and that a process waits for."""
        path = self.folder / "signal"
        path.unlink(missing_ok=True)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def clients(
        self,
        candidate: Candidate,
        server: Server,
        count: int,
        *,
        at_once: bool = False,
        headers: Path | None = None,
    ) -> contextlib.AbstractContextManager[LoadClient]:
        more = {"in_flight": count} if at_once else {}
        return streams(self.load, server.port, candidate.path, count, headers=headers, **more)
