"""Wake-ups by Redis: faster than the poll, and nothing is lost while Redis is down."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

import pytest
import redis

from tests.support.event_streams import events, open_stream, progress_url
from tests.support.live import SERVERS, LiveProject, LiveServer
from tests.support.servers import Redis, redis_server, require_redis
from tests.support.wakeups import (
    RARE_POLLS,
    SOON_SECONDS,
    cancel_elsewhere,
    latencies,
    logged_tracebacks,
    wait_for_logs,
    wakeup_logs,
)

pytestmark = pytest.mark.once

# The poll alone needs a second; a client that waits for longer has noticed the failure.
POLLS = {"POLL_INTERVAL_SECONDS": "1", "THROTTLE_SECONDS": "0.01", "LOG_FORMAT": "json"}
TICK_SECONDS = 1 + SOON_SECONDS


@pytest.fixture
def broker() -> Iterator[Redis]:
    require_redis()
    with redis_server() as server:
        yield server


@pytest.fixture
def job_id(sqlite_project) -> str:
    return sqlite_project.queue_job()


@pytest.fixture
def seen(sqlite_project) -> int:
    """How much of the log is from before the test."""
    log = sqlite_project.log
    return len(log.read_text()) if log.exists() else 0


def wait_for_listener(broker: Redis) -> None:
    with redis.Redis(port=broker.port) as client:
        deadline = time.monotonic() + 60
        while not client.pubsub_channels("asgi__group__*"):
            assert time.monotonic() < deadline, client.pubsub_channels()
            time.sleep(0.02)


def seconds_until_cancelled(
    project: LiveProject, server: LiveServer, job_id: str, broker: Redis | None, **env: str
) -> float:
    """From the end of the process that cancelled a watched job to the stream that shows it."""
    with open_stream(progress_url(server.url, job_id)) as response:
        stream = events(response)
        next(stream)
        if broker:
            wait_for_listener(broker)
        cancel_elsewhere(project, job_id, **env)
        began_at = time.monotonic()
        assert "error" in [event.name for event in stream]
    return time.monotonic() - began_at


def test_write_of_another_process_arrives_by_redis_long_before_the_poll(
    sqlite_project, broker, tmp_path
):
    transport = {"REDIS_URL": broker.url}
    woken = sqlite_project.serve("uvicorn", **POLLS, **transport)
    polling = sqlite_project.serve("uvicorn", **POLLS, WAKEUPS="off")
    with_wakeups = statistics.median(latencies(woken, tmp_path, **transport))
    without = statistics.median(latencies(polling, tmp_path))
    print(f"p50: {with_wakeups * 1000:.1f} ms with wake-ups, {without * 1000:.1f} ms without")
    assert with_wakeups * 3 < without


def test_failure_of_redis_costs_a_tick_and_two_lines_in_the_log(
    sqlite_project, broker, job_id, seen
):
    transport = {"REDIS_URL": broker.url}
    server = sqlite_project.serve("uvicorn", **POLLS, **transport)
    with open_stream(progress_url(server.url, job_id)) as response:
        stream = events(response)
        next(stream)
        wait_for_listener(broker)
        broker.kill()
        (down,) = wait_for_logs(sqlite_project, seen, 1)
        assert (down["event"], down["transport"]) == ("wakeups_down", "channels")
        other = sqlite_project.queue_job()
        # The process that writes has no Redis either, and logs its own line.
        assert seconds_until_cancelled(sqlite_project, server, other, None) < TICK_SECONDS

        broker.start()
        logs = wait_for_logs(sqlite_project, seen, 2, seconds=60)
        assert [record["event"] for record in logs] == ["wakeups_down", "wakeups_back"]
        cancel_elsewhere(sqlite_project, job_id, **transport)
        assert "error" in [event.name for event in stream]
    assert logged_tracebacks(sqlite_project, seen) == []


def test_killed_redis_connection_is_restored(sqlite_project, broker, job_id):
    transport = {"REDIS_URL": broker.url}
    server = sqlite_project.serve("uvicorn", **RARE_POLLS, **transport)
    with open_stream(progress_url(server.url, job_id)) as response:
        stream = events(response)
        next(stream)
        wait_for_listener(broker)
        with redis.Redis(port=broker.port) as client:
            assert client.execute_command("CLIENT", "KILL", "TYPE", "pubsub") >= 1
        wait_for_listener(broker)
        cancel_elsewhere(sqlite_project, job_id, **transport)
        began_at = time.monotonic()
        assert "error" in [event.name for event in stream]
        assert time.monotonic() - began_at < SOON_SECONDS


@pytest.mark.parametrize("ailing", [Redis.frozen, Redis.slow], ids=["frozen", "slow"])
def test_slow_redis_delays_neither_writers_nor_streams(
    sqlite_project, broker, job_id, tmp_path, ailing
):
    transport = {"REDIS_URL": broker.url}
    server = sqlite_project.serve("uvicorn", **POLLS, **transport)
    notes = tmp_path / "notes.json"
    source = """
        import json, sys, time
        from ingestion_progress import track
        slowest = 0.0
        with track("a.pdf", stages=["parsing"]) as job:
            for _ in range(20):
                began_at = time.monotonic()
                job.stage("parsing").advance()
                job.flush()
                slowest = max(slowest, time.monotonic() - began_at)
        open(sys.argv[1], "w").write(json.dumps(slowest))
    """
    with open_stream(progress_url(server.url, job_id)) as response:
        next(events(response))
        wait_for_listener(broker)
        with ailing(broker):
            assert sqlite_project.python(source, str(notes), **transport).wait(60) == 0
            assert json.loads(notes.read_text()) < 5
            waited = seconds_until_cancelled(sqlite_project, server, job_id, None, **transport)
            assert waited < TICK_SECONDS


@pytest.mark.parametrize("server_name", SERVERS)
def test_without_viewers_no_process_subscribes(sqlite_project, broker, job_id, seen, server_name):
    server = sqlite_project.serve(server_name, **POLLS, REDIS_URL=broker.url)
    seconds_until_cancelled(sqlite_project, server, job_id, broker, REDIS_URL=broker.url)
    with redis.Redis(port=broker.port) as client:
        deadline = time.monotonic() + 60
        while client.pubsub_channels() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not client.pubsub_channels()
    assert not wakeup_logs(sqlite_project, seen)
