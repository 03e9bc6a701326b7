"""Starts processes on a separate core, measures their resources, and ends them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
SERVER_CPU = CPUS[0] if len(CPUS) > 1 else None
# The load client, the database and the writer, which are not what is measured.
OTHER_CPUS = CPUS[1:]
START_SECONDS = 40.0
SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


class DidNotStart(Exception):
    """The text is the end of the server's output."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The resources of a process and of all its children."""

    at: float
    cpu_seconds: float
    private_kib: int
    threads: int


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def usage(self) -> Usage:
        processes = with_children(self.process.pid)
        return Usage(
            at=time.monotonic(),
            cpu_seconds=sum(cpu_seconds(each.pid) for each in processes),
            private_kib=sum(_private_kib(each.pid) for each in processes),
            threads=sum(each.num_threads() for each in processes),
        )

    def wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        raise DidNotStart(self.log.read_text(errors="replace")[-2000:])


def with_children(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """User and system time of all its threads, also of ended ones, to the nanosecond.

    The number of the clock is computed from the process id as in clock_getcpuclockid(3).
    """
    return time.clock_gettime((~pid << 3) | 2)


def _private_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


@contextlib.contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str], log: Path, *, cpu: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The end of the block kills the process and its children, also after an exception."""

    def prepare() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Only the benchmark gets Ctrl-C, and ends each process group.
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509  (there are no other threads)
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def take_other_cpus() -> None:
    """Moves this process, and those that it starts from now on, away from the server's core."""
    if OTHER_CPUS:
        os.sched_setaffinity(0, OTHER_CPUS)
