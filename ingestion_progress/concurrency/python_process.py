"""Starts a Python process that imports what this one can import."""

import multiprocessing.spawn
import os
import subprocess
from pathlib import Path
from sys import path as import_path
from typing import Any


def start_python(module: str, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """`python -m module`, in a session of its own, so that Ctrl-C in a terminal does not reach it.

    `options` are those of `Popen`.
    """
    paths = [str(Path(each).resolve()) for each in import_path]
    return subprocess.Popen(  # noqa: S603  (checked values, and no shell)
        [multiprocessing.spawn.get_executable(), "-m", module, *arguments],
        cwd="/",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
        **options,
    )
