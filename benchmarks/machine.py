"""Describes the machine of a run: figures of another machine are not comparable, ratios are."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.processes import OTHER_CPUS, SERVER_CPU

PACKAGES = (
    "django",
    "uvicorn",
    "uvloop",
    "httptools",
    "granian",
    "daphne",
    "fastapi",
    "starlette",
    "sse-starlette",
    "django-eventstream",
    "channels-redis",
)


def description(load: Sequence[str]) -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "server_cpu": SERVER_CPU,
        "other_cpus": OTHER_CPUS,
        "load_average": [round(each, 2) for each in os.getloadavg()],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_client": "Python" if load[-1].endswith(".py") else "C",
        "packages": {name: version(name) for name in PACKAGES},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
