"""Runs the suite on each supported database and Python, then prints one result per run.

Usage: python scripts/test_everything.py [OTHER_PYTHON]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field

MIN_COVERAGE_PERCENT = 95
CLOSING_LINE = re.compile(r"=* ?(no tests ran|\d+ \w+).* in [\d.]+s.*")


@dataclass
class Run:
    """One call of pytest; `closing_line` is the last line of its output."""

    title: str
    args: list[str]
    python: str = sys.executable
    env: dict[str, str] = field(default_factory=dict)
    closing_line: str = ""
    exit_code: int = 0

    def start(self) -> None:
        print(f"\n── {self.title}", flush=True)
        process = subprocess.Popen(
            [self.python, "-m", "pytest", *self.args],
            env=os.environ | self.env,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            if CLOSING_LINE.fullmatch(line.strip()):
                self.closing_line = line.strip()
        self.exit_code = process.wait()


def runs(other_python: str | None) -> list[Run]:
    # One more than cores, because tests often wait for processes that they have started.
    workers = str(1 + (os.cpu_count() or 1))
    # By file, because the servers of a module are started once, in the order of tests/conftest.py.
    # (`--dist loadgroup` has no effect with pytest 9.2 and pytest-xdist 3.8.)
    parallel = ["-q", "-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    main = Run(
        "everything, on SQLite, with coverage",
        [*parallel, "--cov", "--cov-report=term:skip-covered",
         f"--cov-fail-under={MIN_COVERAGE_PERCENT}"],
    )  # fmt: skip
    postgresql = Run(
        "what depends on the database, on PostgreSQL",
        [*parallel, "-m", "database"],
        env={"TEST_DATABASE": "postgresql"},
    )
    if not other_python:
        return [postgresql, main]
    versions = "import sys, django; print(*sys.version_info[:2], *django.VERSION[:2])"
    found = subprocess.check_output([other_python, "-c", versions], text=True).split()
    version = "Python {}.{} and Django {}.{}".format(*found)
    other = Run(
        f"what depends on Python and Django, on {version}",
        [*parallel, "-m", "not browser and not once"],
        python=other_python,
        env={"TEST_SERVERS": "uvicorn", "TEST_PROJECT_DATABASES": "sqlite"},
    )
    return [postgresql, other, main]


def main() -> int:
    started = time.monotonic()
    planned = runs(sys.argv[1] if len(sys.argv) > 1 else None)
    for run in planned:
        run.start()
    print(f"\n── {time.monotonic() - started:.0f} s in all")
    # A failure comes last, then the run that covers most.
    for run in sorted(planned, key=lambda run: run.exit_code != 0):
        print(f"{run.title}:\n{run.closing_line or f'ended with exit code {run.exit_code}'}")
    return int(any(run.exit_code for run in planned))


if __name__ == "__main__":
    sys.exit(main())
