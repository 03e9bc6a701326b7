"""Many clients connect at once: how long each waits for its first frame."""

from __future__ import annotations

from typing import Any

from benchmarks.candidates import Candidate
from benchmarks.measures.fan_out import warm_up
from benchmarks.stage import Stage


def arrivals(stage: Stage, candidate: Candidate, *, clients: int, seconds: float) -> dict[str, Any]:
    """Measures from the `connect` of each client; leaves out frames that take over a minute."""
    del seconds  # the clients determine how long it takes
    with stage.writer(candidate), stage.serve(candidate) as server:
        warm_up(stage, candidate, server)
        with stage.clients(candidate, server, clients, at_once=True) as load:
            ready = load.wait_until_ready()
    return {
        "streams": ready["streams"],
        "refused": ready["failed"],
        "all_after_seconds": ready["seconds"],
        "first_frame_ms": ready["first_frame_ms"],
    }
