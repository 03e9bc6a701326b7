"""Controls the load client: compiled C, or Python if there is no compiler."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.processes import OTHER_CPUS, ROOT

SOURCE = Path(__file__).with_name("load.c")
SOURCE_ADDRESSES = 8
# daphne's listen backlog is 50; a refused client tries again after a second.
IN_FLIGHT = 40


def load_command(folder: Path) -> list[str]:
    """Compiles the client if its source is newer than the program."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return [sys.executable, str(SOURCE.with_suffix(".py"))]
    program = folder / "load"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE), "-lm"], check=True)
    return [str(program)]


class LoadClient:
    """Sends commands to a running client; each response is a line of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait_until_ready(self) -> dict[str, Any]:
        """How many streams there are and how long each waited for its first frame."""
        return self._answer()

    def start(self) -> None:
        self._say("start")

    def stop(self) -> dict[str, Any]:
        """What has arrived since `start`."""
        self._say("stop")
        return self._answer()

    def _say(self, word: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load client has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def streams(
    command: list[str],
    port: int,
    path: str,
    count: int,
    *,
    in_flight: int = IN_FLIGHT,
    headers: Path | None = None,
) -> Iterator[LoadClient]:
    """Opens `count` streams of a server, at most `in_flight` at a time.

    With `headers`, each client adds one line of that file to its request.
    """
    numbers = [str(each) for each in (count, in_flight, SOURCE_ADDRESSES)]
    process = subprocess.Popen(
        [*command, "127.0.0.1", str(port), path, *numbers, *([headers] if headers else [])],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, OTHER_CPUS)) if OTHER_CPUS else None,  # noqa: PLW1509
    )
    try:
        yield LoadClient(process)
    finally:
        process.kill()
        process.communicate()
