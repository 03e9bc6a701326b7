"""The kinds of runs: what each measures, of which candidates, how many clients and how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.candidates import CANDIDATES
from benchmarks.measures.arrivals import arrivals
from benchmarks.measures.endings import departures, termination
from benchmarks.measures.fan_out import full_speed, paced
from benchmarks.measures.latency import WAYS, latency
from benchmarks.measures.queries import (
    CLIENT_COUNTS,
    RECHECK_SECONDS,
    SIGNED_IN_CLIENT_COUNTS,
    queries,
    queries_of_signed_in,
)

ALL = tuple(candidate.name for candidate in CANDIDATES)
OURS = tuple(candidate.name for candidate in CANDIDATES if candidate.is_ours)


@dataclass(frozen=True, kw_only=True)
class Kind:
    name: str
    title: str
    measure: Callable[..., dict[str, Any]]
    candidates: tuple[str, ...] = ALL
    clients: int = 1000
    quick_clients: int = 100
    seconds: float = 8.0
    quick_seconds: float = 2.0
    figures: tuple[tuple[str, str, bool], ...] = ()
    """Heading, path into a result, and whether its ratio to the bare loop is meaningful."""
    compared_by: str = ""
    """Path of the figure by which this project is compared with the peers; empty: not compared."""
    is_more_better: bool = False
    """Whether more of that figure is better; otherwise less is."""


def by_client_count(client_counts: Sequence[int]) -> tuple[tuple[str, str, bool], ...]:
    """For each number of clients, the queries a second and the database's connections."""
    return tuple(
        (heading, f"by_clients.{place}.{figure}", False)
        for place, client_count in enumerate(client_counts)
        for heading, figure in (
            (f"{client_count} clients", "queries_per_second"),
            ("connections", "connections"),
        )
    )


KINDS = (
    Kind(
        name="paced",
        title="two frames a second to each client",
        measure=paced,
        figures=(
            ("CPU µs/frame", "cpu_us_per_frame", True),
            ("of a further one", "cpu_us_per_further_frame", False),
            ("KiB/stream", "kib_per_stream", False),
            ("threads", "threads", False),
            ("age p50 ms", "age_ms.p50", False),
            ("age p99 ms", "age_ms.p99", True),
            ("frames/s", "frames_per_second", False),
        ),
        compared_by="cpu_us_per_frame",
    ),
    Kind(
        name="full-speed",
        title="as many frames as the process can deliver",
        measure=full_speed,
        figures=(
            ("frames/s", "frames_per_second", True),
            ("CPU µs/frame", "cpu_us_per_frame", True),
            ("age p99 ms", "age_ms.p99", False),
            ("server CPU %", "cpu_percent", False),
            ("client CPU %", "client_cpu_percent", False),
        ),
        compared_by="frames_per_second",
        is_more_better=True,
    ),
    Kind(
        name="arrivals",
        title="all clients connect at once",
        measure=arrivals,
        figures=(
            ("first frame p50 ms", "first_frame_ms.p50", False),
            ("p99 ms", "first_frame_ms.p99", True),
            ("streams", "streams", False),
        ),
        compared_by="first_frame_ms.p99",
    ),
    Kind(
        name="ten-thousand",
        title="ten thousand streams in one process, two frames a second",
        measure=paced,
        candidates=("bare", "raw-uvicorn", "ours-uvicorn", "ours-granian", "fastapi"),
        clients=10_000,
        quick_clients=500,
        figures=(
            ("age p99 ms", "age_ms.p99", True),
            ("age p50 ms", "age_ms.p50", False),
            ("KiB/stream", "kib_per_stream", False),
            ("threads", "threads", False),
            ("CPU %", "cpu_percent", False),
            ("frames/s", "frames_per_second", False),
        ),
    ),
    Kind(
        name="termination",
        title="SIGTERM with open streams",
        measure=termination,
        candidates=OURS,
        figures=(("gone after s", "gone_after_seconds", False), ("closed", "closed", False)),
    ),
    Kind(
        name="departures",
        title="a client leaves",
        measure=departures,
        candidates=OURS,
        quick_clients=20,
        figures=(
            ("cleaned up p50 ms", "cleaned_up_ms.p50", False),
            ("p90 ms", "cleaned_up_ms.p90", False),
            ("max ms", "cleaned_up_ms.max", False),
        ),
    ),
    Kind(
        name="latency",
        title="from the tracker's call to the browser's socket",
        measure=latency,
        candidates=("ours-uvicorn",),
        clients=100,
        quick_clients=10,
        seconds=20.0,
        quick_seconds=5.0,
        figures=tuple(
            (f"{way.name}, {which} ms", f"write_to_browser_ms.{way.name}.{which}", False)
            for way in WAYS
            for which in ("p50", "p99")
        ),
    ),
    Kind(
        name="queries",
        title="queries a second by the number of clients",
        measure=queries,
        candidates=("ours-uvicorn",),
        clients=5000,
        figures=by_client_count(CLIENT_COUNTS),
    ),
    Kind(
        name="signed-in",
        title="queries a second of a closed site by the number of clients, each signed in",
        measure=queries_of_signed_in,
        candidates=("ours-uvicorn",),
        seconds=RECHECK_SECONDS,
        quick_seconds=RECHECK_SECONDS,
        figures=by_client_count(SIGNED_IN_CLIENT_COUNTS),
    ),
)
BY_NAME = {kind.name: kind for kind in KINDS}
