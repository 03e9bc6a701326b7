"""Many viewers: what the database notices of them, and what happens when it is watched live."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from tests.support.event_streams import events, open_stream, progress_url
from tests.support.live import SERVERS, LiveProject, LiveServer, live_project
from tests.support.servers import postgresql

pytestmark = pytest.mark.once

VIEWERS = 200
LOG_IN = """
    import json, sys
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import Permission, User
    from django.contrib.sessions.backends.db import SessionStore
    user = User.objects.create_user(sys.argv[1])
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    print(json.dumps(session.session_key))
"""
RUN_FOR_EVER = """
    import itertools, sys, time
    from ingestion_progress import track
    with track("report.pdf", job_id=sys.argv[1], stages=["parsing"]) as job:
        with job.stage("parsing") as stage:
            for _ in itertools.count():
                stage.advance()
                time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def postgresql_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProject]:
    folder = tmp_path_factory.mktemp("fan-out")
    with live_project(folder, postgresql().create_database()) as live:
        yield live


@pytest.fixture
def job_id() -> str:
    return uuid.uuid4().hex


class Database:
    """PostgreSQL's own count of what the project does to it, seen from another database."""

    def __init__(self, project: LiveProject) -> None:
        parts = urlsplit(project.env["DATABASE_URL"])
        socket_dir, _, self.name = parts.path.rpartition("/")
        self.connection = psycopg.connect(
            host="/" + socket_dir.strip("/"), user="postgres", dbname="postgres", autocommit=True
        )

    def connections(self) -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        return self.connection.execute(query, [self.name]).fetchone()[0]

    def transactions(self) -> int:
        """Outside of transactions each query is one."""
        query = "SELECT xact_commit FROM pg_stat_database WHERE datname = %s"
        return self.connection.execute(query, [self.name]).fetchone()[0]


@pytest.fixture
def database(postgresql_project: LiveProject) -> Iterator[Database]:
    database = Database(postgresql_project)
    with database.connection:
        yield database


class Viewers:
    """Open streams that read whatever comes."""

    def __init__(self, url: str, cookie: str = "") -> None:
        self.parts = urlsplit(url)
        self.cookie = cookie
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.received: list[bytearray] = []

    async def join(self, count: int) -> None:
        """Returns when each of them has a state."""
        await asyncio.gather(*(self._connect() for _ in range(count)))

    async def _connect(self, last_id: str = "") -> None:
        reader, writer = await asyncio.open_connection(self.parts.hostname, self.parts.port)
        self.writers.append(writer)
        writer.write(
            f"GET {self.parts.path} HTTP/1.1\r\nHost: {self.parts.netloc}\r\n"
            f"Cookie: sessionid={self.cookie}\r\nLast-Event-ID: {last_id}\r\n\r\n".encode()
        )
        received = bytearray()
        self.received.append(received)
        while not (b"event: job_state" in received or (last_id and b": keepalive" in received)):
            received += await reader.read(65536)
            assert b" 200 OK" in received, received
        self.tasks.append(asyncio.create_task(self._read(reader, received)))

    @staticmethod
    async def _read(reader: asyncio.StreamReader, received: bytearray) -> None:
        while part := await reader.read(65536):
            received += part

    async def come_back(self) -> list[float]:
        """Once all are cut: each waits as its stream told it, as an EventSource does, and resumes.
        How long after the cut each one connected, in seconds.
        """
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for writer in self.writers:
            writer.close()
        cut_at, former = time.monotonic(), list(self.received)
        self.tasks, self.writers, self.received = [], [], []

        async def resume(before: bytes) -> float:
            await asyncio.sleep(int(re.findall(rb"retry: (\d+)", before)[-1]) / 1000)
            connected_at = time.monotonic()
            await self._connect(last_id=re.findall(rb"id: (\S+)", before)[-1].decode())
            return connected_at - cut_at

        return await asyncio.gather(*(resume(bytes(before)) for before in former))

    async def leave(self) -> None:
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def threads_of(process: psutil.Process) -> int:
    return sum(each.num_threads() for each in [process, *process.children(recursive=True)])


# PostgreSQL takes 100 connections. The view sees to it that a crowd does not need them all;
# middleware that reads the session for every request does not.
@pytest.mark.parametrize(
    ("name", "settings", "at_once"),
    [
        *((name, "progress_project.settings", VIEWERS) for name in SERVERS),
        ("daphne", "tests.support.settings_middleware", 20),
    ],
)
async def test_200_signed_in_viewers_hold_no_connection_and_no_thread(
    postgresql_project, database, name, settings, at_once
):
    project, job_id = postgresql_project, uuid.uuid4().hex
    cookie = project.ask(LOG_IN, job_id)
    project.queue_job(job_id)
    live = project.serve(name, PUBLIC="false", RESCUING="false", DJANGO_SETTINGS_MODULE=settings)
    viewers = Viewers(progress_url(live.url, job_id), cookie)
    process = psutil.Process(live.process.pid)
    try:
        await viewers.join(1)
        threads_with_one = threads_of(process)
        for _ in range(VIEWERS // at_once):
            await viewers.join(at_once)
        await asyncio.sleep(0.05)  # a thread takes a moment to end

        assert database.connections() <= 2  # the feed's
        # What a pool may have grown to; one per viewer would be 200.
        assert threads_of(process) <= threads_with_one + 10
    finally:
        await viewers.leave()
        live.process.terminate()
        live.process.wait(30)


async def test_queries_per_tick_do_not_depend_on_viewers(postgresql_project, database, job_id):
    project = postgresql_project
    project.queue_job(job_id)
    live = project.serve("daphne", POLL_INTERVAL_SECONDS="0.1")
    viewers = Viewers(progress_url(live.url, job_id))

    async def queries_per_tick() -> float:
        await asyncio.sleep(1.5)  # PostgreSQL tells once a second
        before, started = database.transactions(), time.monotonic()
        await asyncio.sleep(3)
        ticks = (time.monotonic() - started) / 0.1
        return (database.transactions() - before) / ticks

    try:
        await viewers.join(1)
        with_one = await queries_per_tick()
        await viewers.join(VIEWERS - 1)
        with_many = await queries_per_tick()
    finally:
        await viewers.leave()
        live.process.terminate()
        live.process.wait(30)

    # One, give or take what PostgreSQL tells late; with a query per viewer it would be 200.
    assert with_one < 2
    assert with_many < 2


async def test_500_viewers_reconnect_at_different_times_after_a_cut(
    postgresql_project, database, job_id
):
    project = postgresql_project
    project.queue_job(job_id)
    live = project.serve("uvicorn")
    viewers = Viewers(progress_url(live.url, job_id))
    try:
        await viewers.join(500)
        live.process.kill()
        await asyncio.to_thread(live.process.wait, 5)
        live = await asyncio.to_thread(project.serve, "uvicorn", port=viewers.parts.port)
        started, before = time.monotonic(), database.transactions()
        returns = await viewers.come_back()
        await asyncio.sleep(1.5)  # PostgreSQL tells once a second
        queries, ticks = database.transactions() - before, (time.monotonic() - started) / 0.25
    finally:
        await viewers.leave()
        live.process.kill()

    # Spread over four seconds; nothing is asked for a viewer who comes back.
    assert max(returns) - min(returns) > 3
    assert max(statistics.quantiles(returns, n=4)) - min(statistics.quantiles(returns, n=4)) > 1
    assert queries < ticks + 50


async def test_every_viewer_gets_the_same_states(postgresql_project, job_id):
    project = postgresql_project
    live = project.serve("daphne")
    writer = project.python(RUN_FOR_EVER, job_id)
    project.wait_for_job(job_id)
    viewers = Viewers(progress_url(live.url, job_id))
    try:
        await viewers.join(VIEWERS)
        await asyncio.sleep(2)
    finally:
        await viewers.leave()
        os.killpg(writer.pid, signal.SIGKILL)
        live.process.terminate()
        live.process.wait(30)

    counts = [received.count(b"event: pipeline_progress") for received in viewers.received]
    assert min(counts) >= 3
    states = [
        {line for line in bytes(received).splitlines() if line.startswith(b"id: ")}
        for received in viewers.received
    ]
    # Only the first state depends on when somebody joined.
    assert len(set.union(*states)) <= max(counts) + 3


def test_killed_writer_is_seen_as_lost_and_then_ends_the_stream(project, job_id):
    quick = {"LOST_AFTER_SECONDS": "2", "HEARTBEAT_SECONDS": "0.5"}
    # Its own rescuer could be quicker than the next look of the feed.
    live: LiveServer = project.serve("daphne", RESCUING="false", **quick)
    writer = project.python(RUN_FOR_EVER, job_id, **quick)
    project.wait_for_job(job_id)
    with open_stream(progress_url(live.url, job_id)) as response:
        stream = events(response)
        next(stream)
        os.killpg(writer.pid, signal.SIGKILL)
        # Nobody writes any more: the feed notices by the clock alone.
        next(event for event in stream if event.data.get("liveness") == "lost")
        project.python("from tests.support.rescuing import rescue_now\nrescue_now()", **quick)
        last = list(stream)[-1]
    live.process.terminate()
    live.process.wait(30)

    assert (last.name, last.data["code"]) == ("error", "lost")
