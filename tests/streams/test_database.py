"""The database goes away under open streams, on real servers."""

from __future__ import annotations

import re
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.streams.test_drain import RUN_FOR_EVER
from tests.streams.test_fan_out import LOG_IN
from tests.streams.test_servers import raw_stream, read_until
from tests.support.event_streams import events, open_stream, progress_url
from tests.support.live import LiveProject, LiveServer, live_project
from tests.support.servers import PostgreSQL, start_postgresql

pytestmark = pytest.mark.once

STREAM = "text/event-stream; charset=utf-8"
QUICK = {"LOG_FORMAT": "json", "KEEPALIVE_SECONDS": "1", "LOST_AFTER_SECONDS": "600"}


# Which values the driver cannot read.
NO_UTF_8, NO_DATE = "error = CAST(x'ff' AS TEXT)", "heartbeat_at = 'infinity'"
DAMAGE = """
    import sys
    from django.db import connection
    with connection.cursor() as cursor:
        query = f"UPDATE ingestion_progress_job SET {sys.argv[2]} WHERE id = %s"
        cursor.execute(query, [sys.argv[1]])
"""


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    server = start_postgresql()
    yield server
    server.server.cleanup()


@pytest.fixture(scope="module")
def project(database: PostgreSQL, tmp_path_factory) -> Iterator[LiveProject]:
    folder = tmp_path_factory.mktemp("database-gone")
    with live_project(folder, database.create_database()) as live:
        yield live


def run_job(project: LiveProject) -> str:
    job_id = uuid.uuid4().hex
    project.python(RUN_FOR_EVER, job_id, **QUICK)
    project.wait_for_job(job_id)
    return job_id


@pytest.fixture(scope="module")
def job_id(project: LiveProject) -> str:
    """A job that runs for as long as these tests do."""
    return run_job(project)


def on(server: str) -> pytest.MarkDecorator:
    """A server for each fault, and a fault for each server."""
    return pytest.mark.parametrize("server", [server], indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest, project: LiveProject) -> Iterator[LiveServer]:
    project.log.write_bytes(b"")
    live = project.serve(request.param, **QUICK)
    yield live
    live.process.terminate()
    live.process.wait(30)


def logged(project: LiveProject, event: str) -> int:
    return sum(record["event"] == event for record in project.records())


def assert_moves_on(connection) -> None:
    """The count of what was processed grows."""
    seen: set[bytes] = set()
    received = b""
    deadline = time.monotonic() + 30
    while len(seen) < 3 and time.monotonic() < deadline:
        received += connection.recv(65536)
        seen = set(re.findall(rb"^id: (\S+)$", received, re.MULTILINE))
    assert len(seen) >= 3


def assert_damage_ends_its_own_stream(server: LiveServer, job_id: str, damage: str) -> None:
    damaged = server.project.queue_job()
    with (
        raw_stream(progress_url(server.url, damaged)) as ending,
        raw_stream(progress_url(server.url, job_id)) as going_on,
    ):
        read_until(ending, b"event: job_state")
        server.project.ask(DAMAGE, damaged, damage)
        assert b'"code":"stream_error"' in read_until(ending, b"\r\n0\r\n\r\n")
        assert_moves_on(going_on)


@on("granian")
def test_corrupt_row_ends_its_own_stream(server, job_id):
    assert_damage_ends_its_own_stream(server, job_id, NO_DATE)


@on("daphne")
def test_streams_outlive_a_restart_of_the_database(server, project, database, job_id):
    with raw_stream(progress_url(server.url, job_id)) as connection:
        read_until(connection, b"event: job_state")
        with database.stopped():
            for _ in range(3):
                read_until(connection, b": keepalive\n\n")
            health = httpx.get(f"{server.url}/readyz", timeout=30)
        assert_moves_on(connection)

    problems = {problem["code"] for problem in health.json()["problems"]}
    assert problems == {"database_unreachable", "poller_failing"}
    assert logged(project, "feed_poll_failed") == 1
    assert logged(project, "feed_poll_recovered") == 1


def test_signed_in_viewer_reconnects_when_the_database_is_back(project, database, job_id):
    """Nobody can say who may watch, and a 500 would end an EventSource for good."""
    cookie = f"sessionid={project.ask(LOG_IN, uuid.uuid4().hex)}"
    project.log.write_bytes(b"")
    live = project.serve("uvicorn", PUBLIC="false", **QUICK)
    url = progress_url(live.url, job_id)
    with raw_stream(url, f"Cookie: {cookie}") as connection:
        read_until(connection, b"event: job_state")
        with database.stopped():
            with open_stream(url, cookie=cookie) as away:
                answer = away.read()
            read_until(connection, b": keepalive\n\n")
        assert_moves_on(connection)
    with open_stream(url, cookie=cookie) as back:
        assert next(events(back)).name == "pipeline_progress"

    assert (away.status_code, away.headers["content-type"]) == (200, STREAM)
    assert re.fullmatch(rb"retry: \d+\n", answer)
    assert logged(project, "sse_stream_refused") == 1
    assert "Internal Server Error" not in project.log.read_text()


@on("uvicorn")
def test_streams_outlive_a_full_database(server, project, database, job_id):
    """Its connections are taken by others, those of the feed and of the writers included."""
    with raw_stream(progress_url(server.url, job_id)) as connection:
        read_until(connection, b"event: job_state")
        with database.full():
            for _ in range(4):
                read_until(connection, b": keepalive\n\n")
            health = httpx.get(f"{server.url}/readyz", timeout=30)
        assert_moves_on(connection)

    problems = {problem["code"] for problem in health.json()["problems"]}
    assert problems == {"database_unreachable", "poller_failing"}
    assert logged(project, "feed_poll_failed") == 1
    assert logged(project, "feed_poll_recovered") == 1


@on("granian")
def test_streams_outlive_a_database_that_does_not_answer(server, project, database, job_id):
    with raw_stream(progress_url(server.url, job_id)) as connection:
        read_until(connection, b"event: job_state")
        with database.frozen():
            for _ in range(3):
                read_until(connection, b": keepalive\n\n")
            health = httpx.get(f"{server.url}/readyz", timeout=30)
            started = time.monotonic()
            assert httpx.get(f"{server.url}/healthz", timeout=30).status_code == 200
            answered_in = time.monotonic() - started
            with raw_stream(progress_url(server.url, job_id)) as newcomer:
                newcomer.settimeout(15)
                read_until(newcomer, b": keepalive\n\n")
        assert_moves_on(connection)

    assert {problem["code"] for problem in health.json()["problems"]} >= {"database_silent"}
    assert answered_in < 1


@on("uvicorn")
def test_process_exits_although_the_database_does_not_answer(server, database, job_id):
    with raw_stream(progress_url(server.url, job_id)) as connection:
        read_until(connection, b"event: job_state")
        with database.frozen():
            time.sleep(0.6)  # a poll is under way
            started = time.monotonic()
            server.process.terminate()
            assert b"retry: " in read_until(connection, b"\r\n0\r\n\r\n")
            server.process.wait(15)
            seconds = time.monotonic() - started

    assert seconds < 3


def test_streams_outlive_a_locked_sqlite_file_and_a_corrupt_row_in_it(tmp_path):
    """Without WAL, whose readers no lock keeps out."""
    file = tmp_path / "progress.sqlite3"
    options = "timeout=1&init_command=PRAGMA%20journal_mode%3DDELETE"
    with live_project(tmp_path, f"sqlite:///{file}?{options}") as project:
        job_id = run_job(project)
        live = project.serve("granian", **QUICK)
        with raw_stream(progress_url(live.url, job_id)) as connection:
            read_until(connection, b"event: job_state")
            with closing(sqlite3.connect(file, timeout=20, isolation_level=None)) as lock:
                lock.execute("BEGIN EXCLUSIVE")
                for _ in range(4):
                    read_until(connection, b": keepalive\n\n")
            assert_moves_on(connection)
        assert_damage_ends_its_own_stream(live, job_id, NO_UTF_8)
        assert logged(project, "feed_poll_failed") == 1
        assert logged(project, "feed_poll_recovered") == 1
