"""What a frame costs: CPU, memory and age at a fixed rate, and frames a second at full speed."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.candidates import Candidate
from benchmarks.client import LoadClient
from benchmarks.processes import Server
from benchmarks.stage import Stage

IDLE_SECONDS = 1.0
SETTLE_SECONDS = 1.5
RATE = 2.0


class TooFewStreams(Exception):
    """Fewer streams opened than the measurement needs."""


class NotAtFullSpeed(Exception):
    """The server has not begun to publish without a pause, or has failed."""


def paced(stage: Stage, candidate: Candidate, *, clients: int, seconds: float) -> dict[str, Any]:
    """Every client gets two frames a second."""
    with stage.writer(candidate), stage.serve(candidate, BENCH_RATE=str(RATE)) as server:
        warm_up(stage, candidate, server)
        idle = server.usage()
        idle_share = cpu_share(server)
        with stage.clients(candidate, server, 1) as load:
            wait_for_all(load, 1)
            time.sleep(SETTLE_SECONDS)
            share_of_one = cpu_share(server)
        with stage.clients(candidate, server, clients) as load:
            ready = wait_for_all(load, clients)
            time.sleep(SETTLE_SECONDS)
            counted, used = count(load, server, seconds)
            after = server.usage()
    above_idle = used["cpu_seconds"] - idle_share * used["seconds"]
    above_one = used["cpu_seconds"] - share_of_one * used["seconds"]
    return {
        "streams": counted["streams"],
        "frames_per_second": round(counted["frames"] / counted["seconds"], 1),
        "frames_per_second_and_client": counted["frames"] / counted["seconds"] / clients,
        "cpu_us_per_frame": per_frame_us(above_idle, counted),
        # Without what is done once for all viewers: the poll, its queries, the encoding.
        "cpu_us_per_further_frame": per_frame_us(above_one, counted),
        "cpu_percent": round(100 * used["cpu_seconds"] / used["seconds"], 1),
        "kib_per_stream": round((after.private_kib - idle.private_kib) / counted["streams"], 2),
        "threads": after.threads,
        "age_ms": counted["age_ms"],
        "write_ms": counted["write_ms"],
        "bytes_per_frame": round(counted["bytes"] / max(1, counted["frames"])),
        "first_frame_ms": ready["first_frame_ms"],
        "client_cpu_percent": counted["client_cpu_percent"],
    }


def full_speed(
    stage: Stage, candidate: Candidate, *, clients: int, seconds: float
) -> dict[str, Any]:
    """As many frames as the process can encode and send; apps/ours.py does it for this project."""
    with (
        stage.writer(candidate),
        stage.signal() as signal,
        stage.serve(candidate, instrumented=True, BENCH_FULL_SPEED_SIGNAL=str(signal)) as server,
        stage.clients(candidate, server, clients) as load,
    ):
        wait_for_all(load, clients)
        signal.touch()
        time.sleep(SETTLE_SECONDS)
        counted, used = count(load, server, seconds)
    # A server that was saturated before is no faster at full speed, and uses all of its core.
    is_idle = used["cpu_seconds"] < 0.1 * used["seconds"]
    if is_idle and counted["frames"] <= 1.5 * RATE * clients * counted["seconds"]:
        raise NotAtFullSpeed(server.log.read_text(errors="replace")[-2000:])
    return {
        "streams": counted["streams"],
        "frames_per_second": round(counted["frames"] / counted["seconds"]),
        "cpu_us_per_frame": per_frame_us(used["cpu_seconds"], counted),
        "cpu_percent": round(100 * used["cpu_seconds"] / used["seconds"], 1),
        "age_ms": counted["age_ms"],
        "fewest_frames": counted["fewest_frames"],
        "most_frames": counted["most_frames"],
        "bytes_per_frame": round(counted["bytes"] / max(1, counted["frames"])),
        "client_cpu_percent": counted["client_cpu_percent"],
    }


def warm_up(stage: Stage, candidate: Candidate, server: Server) -> None:
    """Opens one stream, because the first request imports modules."""
    with stage.clients(candidate, server, 1) as load:
        wait_for_all(load, 1)
    time.sleep(0.3)


def cpu_share(server: Server) -> float:
    """The share of one core that the server uses during a second."""
    before = server.usage()
    time.sleep(IDLE_SECONDS)
    after = server.usage()
    return (after.cpu_seconds - before.cpu_seconds) / (after.at - before.at)


def wait_for_all(load: LoadClient, clients: int) -> dict[str, Any]:
    ready = load.wait_until_ready()
    if ready["streams"] < clients:
        raise TooFewStreams(f"{ready['streams']} of {clients}: {ready}")
    return ready


def count(
    load: LoadClient, server: Server, seconds: float
) -> tuple[dict[str, Any], dict[str, float]]:
    """What arrived in these seconds, and the CPU time that the server used for it."""
    before = server.usage()
    load.start()
    time.sleep(seconds)
    counted = load.stop()
    after = server.usage()
    used = {
        "seconds": after.at - before.at,
        "cpu_seconds": after.cpu_seconds - before.cpu_seconds,
    }
    return counted, used


def per_frame_us(cpu_seconds: float, counted: dict[str, Any]) -> float | None:
    return round(cpu_seconds / counted["frames"] * 1e6, 2) if counted["frames"] else None
