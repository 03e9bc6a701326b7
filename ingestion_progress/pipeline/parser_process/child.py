"""Reads one document, in a process that the parser process has forked for it.

Each line of its connection is the index of a page, and gets a line as its answer:
`{"page": {…}}`, or `{"error": {"kind": …, "message": …}}`. With the reference of a picture after
the index, the answer is `{"picture": …}`: a JPEG in base64. The first line is `{"count": …}`, the
number of pages. A line `{"log": …}` before an answer is a record of Python's logging.
"""

import base64
import io
import json
import logging
import os
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeAlias

from django.utils.module_loading import import_string

from ingestion_progress.pipeline import exceptions
from ingestion_progress.pipeline.exceptions import PipelineError
from ingestion_progress.pipeline.stages import Pages, Parser
from ingestion_progress.pipeline.stages.parsers.picture_files import read_picture

# Kinds of errors; the others are names of exceptions of the pipeline.
MEMORY, FAILED = "memory", "failed"
Answer: TypeAlias = dict[str, Any]

# Before the worker and the database, if the host has no memory left. From -1000 to 1000.
OOM_SCORE = 800
# Events of `sys.addaudithook`. Writing, also to a file that exists, is refused by its flags.
# The frames of a traceback that are logged: a log cuts off long texts at their end.
LOGGED_FRAMES = 2
MODULES = (".py", ".pyc", ".so")
REFUSED_EVENTS = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system")


def run(connection: socket.socket, file_number: int, request: dict[str, Any]) -> None:
    """Answers until the worker closes the connection, or memory may be missing after an error."""
    output = connection.makefile("w", encoding="utf-8", errors="replace")
    logging.getLogger().handlers = [LogRecords(output)]
    cpu_seconds = request["cpu_seconds"]
    with _opened(file_number, request["name"]) as file, connection.makefile("r") as indices:
        parser: Parser = import_string(request["parser"])()
        limit_memory(request["memory_bytes"])
        refuse_files_and_network()
        pages: Any = None

        def opened() -> Answer:
            nonlocal pages
            pages = parser.open(file, request["name"])
            return {"count": len(pages)}

        can_continue = _answer(output, cpu_seconds, opened)
        while can_continue and pages is not None and (line := indices.readline()):
            numbers = map(int, line.split())
            can_continue = _answer(output, cpu_seconds, partial(_read, pages), *numbers)


def _read(pages: Pages, index: int, reference: int | None = None) -> Answer:
    if reference is None:
        return {"page": pages[index].fields()}
    return {"picture": base64.b64encode(read_picture(pages, index, reference)).decode()}


def _opened(file_number: int, name: str) -> BinaryIO:
    raw = io.FileIO(file_number)
    raw.name = name  # libraries expect a text
    raw.seek(0)  # a child before this one may have read it
    return io.BufferedReader(raw)


def _answer(output: TextIO, cpu_seconds: float, act: Callable[..., Answer], *args: int) -> bool:
    """Returns whether this process can answer another request."""
    limit_cpu(cpu_seconds)
    try:
        answer = act(*args)
    except PipelineError as error:
        answer = _error(_name(error), str(error))
    except MemoryError:
        answer = _error(MEMORY, "")
    except Exception:  # noqa: BLE001  (of a library, about a document that it did not expect)
        answer = _error(FAILED, traceback.format_exc(limit=-LOGGED_FRAMES, chain=False))
    output.write(json.dumps(answer) + "\n")
    output.flush()
    return "error" not in answer or answer["error"]["kind"] != MEMORY


def _error(kind: str, message: str) -> Answer:
    return {"error": {"kind": kind, "message": message}}


def _name(error: PipelineError) -> str:
    """The name of its class, or of its base in `exceptions.py` if the parser defines the class."""
    bases = (base for base in type(error).__mro__ if base.__module__ == exceptions.__name__)
    return next(bases).__name__


class LogRecords(logging.Handler):
    """Sends what libraries log to the worker."""

    def __init__(self, output: TextIO) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"logger": record.name, "level": record.levelno, "message": record.getMessage()}
        self._output.write(json.dumps({"log": fields}) + "\n")


def limit_memory(memory_bytes: int) -> None:
    """Limits memory, and forbids core dumps and files of more than 0 bytes."""
    for kind, limit in (
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (soft, hard))
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text(str(OOM_SCORE))


def limit_cpu(seconds: float) -> None:
    """For the next answer: SIGXCPU ends the process after this time."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def refuse_files_and_network() -> None:
    """Python raises PermissionError if a parser opens an address, a process, or a file that is
    not a part of Python or its packages. C code is not checked.
    """
    imported = _with_real_paths(filter(None, sys.path))
    packages = [path for path in imported if path.endswith(("site-packages", "dist-packages"))]
    installed = (*_with_real_paths([sys.prefix, sys.base_prefix]), os.devnull, *packages)

    def check(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(REFUSED_EVENTS):
            raise PermissionError(f"A parser may not use {event}.")
        if event == "open" and not isinstance(args[0], int):
            path, flags = os.path.abspath(os.fsdecode(args[0])), args[2] or 0  # noqa: PTH100
            is_module = path.startswith(imported) and path.endswith(MODULES)
            is_written = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if is_written or not (is_module or path.startswith(installed)):
                raise PermissionError("A parser may not open other files.")

    sys.addaudithook(check)


def _with_real_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """Libraries resolve the links in the paths of their files, or not."""
    return tuple({each for path in paths for each in (path, os.path.realpath(path))})
