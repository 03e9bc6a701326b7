"""From what a task reports to the browser's socket, with and without wake-ups."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from benchmarks.candidates import Candidate
from benchmarks.measures.fan_out import SETTLE_SECONDS, wait_for_all
from benchmarks.stage import Stage

# Longer than the throttle and the flush interval, so that neither holds anything back.
WRITE_INTERVAL_SECONDS = 0.8
WAYS = (("other process", "auto"), ("other process", "off"), ("same process", "auto"))


def latency(stage: Stage, candidate: Candidate, *, clients: int, seconds: float) -> dict[str, Any]:
    """Milliseconds from the tracker's call; wake-ups between processes are PostgreSQL's NOTIFY."""
    found = {}
    for writer, wakeups in WAYS:
        name = f"{writer}, wake-ups {'off' if wakeups == 'off' else 'on'}"
        found[name] = _once(stage, candidate, writer, wakeups, clients=clients, seconds=seconds)
    return {"streams": clients, "write_to_browser_ms": found}


def _once(
    stage: Stage,
    candidate: Candidate,
    writer: str,
    wakeups: str,
    *,
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        env = {"WAKEUPS": wakeups}
        if writer == "same process":
            env["BENCH_WRITER"] = str(WRITE_INTERVAL_SECONDS)
        else:
            stack.enter_context(stage.writer(candidate, WRITE_INTERVAL_SECONDS, **env))
        is_inside = writer == "same process"
        server = stack.enter_context(stage.serve(candidate, instrumented=is_inside, **env))
        if is_inside:
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
