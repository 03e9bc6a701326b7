"""A process that runs scripts for tests: a query needs no new process with Python and Django, which
takes half a second of CPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

LOOP = """
import contextlib, io, json, sys, traceback
import django
django.setup()
from django.db import connections
for line in sys.stdin:
    source, *args = json.loads(line)
    sys.argv, output, error = ["-c", *args], io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(output):
            exec(source, {"__name__": "__main__"})
    except Exception:
        error = traceback.format_exc()
    finally:
        connections.close_all()
    print(json.dumps([output.getvalue(), error]), flush=True)
"""


class Console:
    """Runs scripts one after the other, each with new globals and database connections."""

    def __init__(self, *, cwd: Path, env: dict[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", LOOP],
                cwd=cwd,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self, source: str, *args: str) -> Any:
        """The JSON that the script printed; None if it printed nothing."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([textwrap.dedent(source), *args]) + "\n")
        self._process.stdin.flush()
        output, error = json.loads(self._process.stdout.readline())
        assert not error, error
        return json.loads(output) if output else None

    def close(self) -> None:
        self._process.communicate(timeout=60)
