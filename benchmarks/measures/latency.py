"""The time from a task's report to the browser's socket, with and without wake-ups."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.candidates import Candidate
from benchmarks.measures.fan_out import SETTLE_SECONDS, wait_for_all
from benchmarks.stage import Stage
from tests.support.servers import redis_server

# Longer than the throttle and the flush interval, so that neither delays a state.
WRITE_INTERVAL_SECONDS = 0.8


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a wake-up gets from the writer to the server."""

    name: str
    is_inside: bool = False
    """Writer and server are one process."""
    wakeups: str


WAYS = (
    Way(name="other process, wake-ups on", wakeups="notify"),
    Way(name="other process, wake-ups by Redis", wakeups="channels"),
    Way(name="other process, wake-ups off", wakeups="off"),
    Way(name="same process, wake-ups on", wakeups="auto", is_inside=True),
)


def latency(stage: Stage, candidate: Candidate, *, clients: int, seconds: float) -> dict[str, Any]:
    """Milliseconds from the tracker's call, by way; Redis only if it is installed."""
    ways = [way for way in WAYS if way.wakeups != "channels" or shutil.which("redis-server")]
    found = {
        way.name: _once(stage, candidate, way, clients=clients, seconds=seconds) for way in ways
    }
    return {"streams": clients, "write_to_browser_ms": found}


def _once(
    stage: Stage,
    candidate: Candidate,
    way: Way,
    *,
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        env = {"WAKEUPS": way.wakeups}
        if way.wakeups == "channels":
            env["REDIS_URL"] = stack.enter_context(redis_server()).url
        if way.is_inside:
            env["BENCH_WRITER"] = str(WRITE_INTERVAL_SECONDS)
        else:
            stack.enter_context(stage.writer(candidate, WRITE_INTERVAL_SECONDS, **env))
        server = stack.enter_context(stage.serve(candidate, instrumented=way.is_inside, **env))
        if way.is_inside:
            with stage.clients(candidate, server, 1) as first:  # starts the writer
                first.wait_until_ready()
            time.sleep(SETTLE_SECONDS)
        load = stack.enter_context(stage.clients(candidate, server, clients))
        wait_for_all(load, clients)
        time.sleep(SETTLE_SECONDS)
        load.start()
        time.sleep(seconds)
        written: dict[str, Any] = load.stop()["write_ms"]
        return written
