"""Starts a Python process that imports what this one can import."""

import multiprocessing.spawn
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any


def start_python(module: str, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """`python -m module`, in a new session, so that Ctrl-C in a terminal does not reach it.

    `options` are those of `Popen`.
    """
    return subprocess.Popen(  # noqa: S603  (checked values, and no shell)
        [multiprocessing.spawn.get_executable(), "-m", module, *arguments],
        cwd="/",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(_project_paths())},
        start_new_session=True,
        **options,
    )


def _project_paths() -> list[str]:
    """The folders of `sys.path` that Python does not add itself.

    Folders inside its own are left out: OpenCV adds one with a module `typing`.
    """
    own = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]
    paths = [Path(path).resolve() for path in sys.path]
    return [str(path) for path in paths if not any(path.is_relative_to(each) for each in own)]
