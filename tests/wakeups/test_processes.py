"""Wake-ups where they matter: writers and web servers in separate processes."""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from ingestion_progress.wakeups.transports import Notification
from tests.support.event_streams import events, open_stream, progress_url
from tests.support.live import SERVERS, LiveProject, live_project
from tests.support.servers import postgresql
from tests.support.wakeups import (
    RARE_POLLS,
    SOON_SECONDS,
    cancel_elsewhere,
    latencies,
    logged_tracebacks,
    wait_for_logs,
)

pytestmark = pytest.mark.once

LISTENERS = "application_name = 'ingestion-progress-wakeups' AND query LIKE 'LISTEN%'"


@pytest.fixture
def job_id() -> str:
    return uuid.uuid4().hex


@pytest.fixture(scope="module")
def postgresql_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProject]:
    folder = tmp_path_factory.mktemp("notify")
    with live_project(folder, postgresql().create_database()) as live:
        yield live


def test_request_that_writes_wakes_the_streams_of_its_own_process(project, job_id):
    server = project.serve("uvicorn", **RARE_POLLS)
    project.queue_job(job_id)
    url = progress_url(server.url, job_id)
    with open_stream(url) as response:
        stream = events(response)
        assert next(stream).name == "pipeline_progress"

        cancellation = url.removesuffix("progress") + "cancellation"
        asked = threading.Thread(target=httpx.post, args=[cancellation])
        began_at = time.monotonic()
        asked.start()
        assert "error" in [event.name for event in stream]
        assert time.monotonic() - began_at < SOON_SECONDS
        asked.join()


def test_write_of_another_process_arrives_by_notify_long_before_the_poll(
    postgresql_project, tmp_path
):
    polls = {"POLL_INTERVAL_SECONDS": "1", "THROTTLE_SECONDS": "0.01"}
    woken = postgresql_project.serve("uvicorn", **polls)
    polling = postgresql_project.serve("uvicorn", **polls, WAKEUPS="off")
    with_wakeups = statistics.median(latencies(woken, tmp_path))
    without = statistics.median(latencies(polling, tmp_path))
    print(f"p50: {with_wakeups * 1000:.1f} ms with wake-ups, {without * 1000:.1f} ms without")
    assert with_wakeups * 3 < without


@pytest.mark.parametrize("server_name", SERVERS)
def test_write_of_a_process_that_exits_is_notified(postgresql_project, job_id, server_name):
    server = postgresql_project.serve(server_name, **RARE_POLLS)
    postgresql_project.queue_job(job_id)
    with open_stream(progress_url(server.url, job_id)) as response:
        stream = events(response)
        next(stream)
        time.sleep(0.5)  # the listener connects
        began_at = time.monotonic()
        cancel_elsewhere(postgresql_project, job_id)
        assert "error" in [event.name for event in stream]
        assert time.monotonic() - began_at < SOON_SECONDS + 2


def test_terminated_listener_reconnects_and_logs_one_line_per_change(postgresql_project, job_id):
    project = postgresql_project
    server = project.serve("uvicorn", **RARE_POLLS)
    project.queue_job(job_id)
    seen = len(project.log.read_text())
    with (
        open_stream(progress_url(server.url, job_id)) as response,
        connected(project.env["DATABASE_URL"]) as admin,
    ):
        stream = events(response)
        next(stream)
        terminate = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LISTENERS}"
        deadline = time.monotonic() + 60
        while not admin.execute(terminate).fetchall() and time.monotonic() < deadline:
            time.sleep(0.02)
        logs = wait_for_logs(project, seen, 2)
        assert [record["event"] for record in logs] == ["wakeups_down", "wakeups_back"]
        assert logs[0]["transport"] == "notify"

        cancel_elsewhere(project, job_id)
        began_at = time.monotonic()
        assert "error" in [event.name for event in stream]
        assert time.monotonic() - began_at < SOON_SECONDS
    assert logged_tracebacks(project, seen) == []


def test_writer_that_never_pauses_notifies_no_more_often_than_the_interval(postgresql_project):
    source = """
        import time
        from ingestion_progress import wakeups
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for number in range(500):
                wakeups.publish(f"job-{number}")
            time.sleep(0.001)
    """
    with connected(postgresql_project.env["DATABASE_URL"]) as listener:
        listener.execute("LISTEN ingestion_progress")
        assert postgresql_project.python(source).wait(30) == 0
        received = list(listener.notifies(timeout=0.5))
    # One per 50 ms, and those at its start and exit.
    assert 1 <= len(received) <= 25
    assert max(len(notification.payload) for notification in received) < 7000


def test_notification_to_other_processes_names_the_jobs_that_have_ended(postgresql_project):
    source = """
        import sys, time
        from ingestion_progress import track
        for name in sys.argv[1:]:
            job = track("a.pdf", job_id=name, stages=["one"])
            job.start()
            time.sleep(0.1)  # so that its start is in a separate notification
            if name.startswith("ended"):
                job.complete()
            time.sleep(0.1)
    """
    ended, running = (f"{word}-{uuid.uuid4().hex}" for word in ("ended", "running"))
    with connected(postgresql_project.env["DATABASE_URL"]) as listener:
        listener.execute("LISTEN ingestion_progress")
        assert postgresql_project.python(source, ended, running).wait(30) == 0
        received = [Notification.decoded(each.payload) for each in listener.notifies(timeout=0.5)]
    about_them = [each for each in received if each and {ended, running} & set(each.job_ids)]
    assert about_them[0].ended == ()
    assert {job_id for each in about_them for job_id in each.job_ids} == {ended, running}
    assert {job_id for each in about_them for job_id in each.ended} == {ended}


def connected(database_url: str) -> psycopg.Connection:
    socket_dir, _, name = urlsplit(database_url).path.rpartition("/")
    host = "/" + socket_dir.strip("/")
    return psycopg.connect(host=host, user="postgres", dbname=name, autocommit=True)
