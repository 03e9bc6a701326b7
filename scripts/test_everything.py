"""Runs the suite on both databases and on two Pythons, then prints one result per run.

Tests of real processes may fail on a busy machine. What failed therefore runs once more when the
machine is quiet, alone and in order. If it passes then, the run passes, and its result names these
unstable tests.

Usage: python scripts/test_everything.py [OTHER_PYTHON]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

import psutil
import pytest

MIN_COVERAGE_PERCENT = 95
MAX_UNSTABLE = 10  # more failures than these are no accident
BUSY_PERCENT = 50  # of all cores
MAX_QUIET_WAIT_SECONDS = 60
FAILED_LINE = re.compile(r"(?:FAILED|ERROR) (\S+::.+?)(?: - .*)?")
CLOSING_LINE = re.compile(r"=* ?(no tests ran|\d+ \w+).* in [\d.]+s.*")


def wait_for_quiet() -> None:
    """Waits until the first run, and other programs, leave half of the machine idle."""
    deadline = time.monotonic() + MAX_QUIET_WAIT_SECONDS
    while time.monotonic() < deadline and psutil.cpu_percent(interval=1) > BUSY_PERCENT:
        pass


@dataclass
class Run:
    """Calls of pytest: `options` for all tests, `coverage` where it is measured, and once more for
    those that failed. `closing_line` is the last line of the first output.
    """

    title: str
    options: list[str]
    python: str = sys.executable
    env: dict[str, str] = field(default_factory=dict)
    coverage: list[str] = field(default_factory=list)
    closing_line: str = ""
    exit_code: int = 0
    unstable: list[str] = field(default_factory=list)

    def start(self) -> None:
        with tempfile.TemporaryDirectory() as cache:
            remembered = ["-o", f"cache_dir={cache}"]
            self.exit_code, lines = self._pytest(
                f"\n── {self.title}", [*self.options, *self.coverage, *remembered]
            )
            closing = [line for line in lines if CLOSING_LINE.fullmatch(line)]
            self.closing_line = closing[-1] if closing else ""
            failed = [found[1] for line in lines if (found := FAILED_LINE.fullmatch(line))]
            if self.exit_code != pytest.ExitCode.TESTS_FAILED or len(failed) > MAX_UNSTABLE:
                return
            again = ["-q", "--last-failed", "--last-failed-no-failures=none", *remembered]
            if self.coverage:
                again += [*self.coverage, "--cov-append"]
            wait_for_quiet()
            self.exit_code, _ = self._pytest("\n── once more, alone, what failed", again)
            if not self.exit_code:
                self.unstable = failed

    def result(self) -> str:
        """What the run ended with, and the tests that passed in their second run only."""
        unstable = [f"\n  unstable, passed alone: {test}" for test in self.unstable]
        ending = self.closing_line or f"ended with exit code {self.exit_code}"
        return f"{self.title}:\n{ending}{''.join(unstable)}"

    def _pytest(self, title: str, args: list[str]) -> tuple[int, list[str]]:
        """The exit code and the lines of its output, which is printed as it comes."""
        print(title, flush=True)
        lines = []
        with subprocess.Popen(
            [self.python, "-m", "pytest", *args],
            env=os.environ | self.env,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line.strip())
        return process.returncode, lines


def version_of(python: str) -> tuple[int, ...]:
    """The first two numbers of its version, then those of its Django."""
    source = "import sys, django; print(*sys.version_info[:2], *django.VERSION[:2])"
    numbers = subprocess.check_output([python, "-c", source], text=True).split()
    return tuple(map(int, numbers))


def everything(python: str, parallel: list[str]) -> Run:
    """All tests, with coverage."""
    version = version_of(python)
    # Python 3.12 counts lines itself, and the tests take a tenth more of CPU instead of double.
    env = {"COVERAGE_CORE": "sysmon"} if version >= (3, 12) else {}
    return Run(
        "everything, on Python {}.{}, Django {}.{} and SQLite, with coverage".format(*version),
        parallel,
        python=python,
        env=env,
        coverage=[
            "--cov",
            "--cov-report=term:skip-covered",
            f"--cov-fail-under={MIN_COVERAGE_PERCENT}",
        ],
    )


def runs(other_python: str | None) -> list[Run]:
    """Each test runs on the newer Python and SQLite. What depends on Python, Django or the database
    runs on the older Python and PostgreSQL, too.
    """
    # One more than cores, because tests often wait for processes that they have started.
    workers = str(1 + (os.cpu_count() or 1))
    # By file, because the servers of a module are started once, in the order of tests/conftest.py.
    # (`--dist loadgroup` has no effect with pytest 9.2 and pytest-xdist 3.8.)
    parallel = ["-q", "-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    # A test that ends its process is tried again by the next one: not by dozens.
    parallel += ["--max-worker-restart", "2"]
    if not other_python:
        postgresql = Run(
            "what depends on the database, on PostgreSQL",
            [*parallel, "-m", "database"],
            env={"TEST_DATABASE": "postgresql"},
        )
        return [postgresql, everything(sys.executable, parallel)]
    older, newer = sorted([sys.executable, other_python], key=version_of)
    repeated = Run(
        "what depends on versions or the database, on Python {}.{}, Django {}.{} and PostgreSQL"
        "".format(*version_of(older)),
        [*parallel, "-m", "not browser and not once"],
        python=older,
        env={
            "TEST_DATABASE": "postgresql",
            "TEST_SERVERS": "uvicorn",
            "TEST_PROJECT_DATABASES": "sqlite",
        },
    )
    return [repeated, everything(newer, parallel)]


def main() -> int:
    started = time.monotonic()
    planned = runs(sys.argv[1] if len(sys.argv) > 1 else None)
    for run in planned:
        run.start()
    print(f"\n── {time.monotonic() - started:.0f} s in all")
    # A failure comes last, then the run that covers most.
    for run in sorted(planned, key=lambda run: run.exit_code != 0):
        print(run.result())
    return int(any(run.exit_code for run in planned))


if __name__ == "__main__":
    sys.exit(main())
