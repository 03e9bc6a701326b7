"""Simulated jobs in separate processes, and processes that follow them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.live import ROOT, LiveProject


@contextlib.contextmanager
def simulated(project: LiveProject, *args: str) -> Iterator[str]:
    """The id of a job that runs for ten minutes by default, and is killed at the end."""
    source = """
        import io, json, sys
        from django.core.management import call_command
        output = io.StringIO()
        call_command("simulate_job", *sys.argv[1:], stdout=output)
        print(json.dumps(output.getvalue().splitlines()[-1]))
    """
    job_id = str(project.ask(source, "--seconds=600", *args))
    try:
        yield job_id
    finally:
        with contextlib.suppress(LookupError, ProcessLookupError):
            os.kill(process_of(job_id), signal.SIGKILL)


def process_of(job_id: str) -> int:
    """The process that simulates a job. Raises LookupError; works on Linux only."""
    wanted = f"--job-id={job_id}".encode()
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if wanted in cmdline.read_bytes().split(b"\0"):
                return int(cmdline.parent.name)
    raise LookupError(job_id)


def following(project: LiveProject, *args: str, **options) -> subprocess.Popen[str]:
    """`manage.py follow` as a process, with its output in pipes by default."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, "manage.py", "follow", *args],
        cwd=ROOT,
        **{"env": project.env} | pipes | options,
    )


def states(project: LiveProject, job_id: str) -> Iterator[dict]:
    """Every state of a job from now on, until it ends."""
    with following(project, "--json", job_id) as process:
        try:
            for line in process.stdout:
                yield json.loads(line)
        finally:
            process.kill()
