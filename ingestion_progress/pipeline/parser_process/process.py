"""The process that has the parsers loaded: `python -m …parser_process.process`.

Its standard input is a Unix socket, whose lines are requests of the worker in JSON:

- `{"parser": …, "name": …, …}` with two file descriptors, the document and a connection: forks a
  child that reads the document (`child.py`). Answer: `{"pid": …}`.
- `{"end": pid}`: kills the child. Answer: `{"status": …, "peak_bytes": …}`, as of `os.wait4`.

The process ends with its input, and so do its children.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from ingestion_progress.pipeline.parser_process import child
from ingestion_progress.pipeline.stages.parsers import load_parsers

MAX_MESSAGE_BYTES = 65_536
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def main() -> None:
    # A supervisor may send its signals to all processes of a worker, which decides what to do.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    load_parsers()
    gc.freeze()  # children do not copy what the collector would touch
    children: set[int] = set()
    try:
        for request, numbers in _requests(control):
            if "end" in request:
                answer = _ended(children, request["end"])
            else:
                answer = {"pid": _forked(children, control, request, numbers)}
            control.sendall(json.dumps(answer).encode() + b"\n")
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def _requests(control: socket.socket) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """The requests until the worker ends. It sends the next one after the last answer."""
    while True:
        with contextlib.suppress(ConnectionError):
            data, numbers, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, 2)
            while data and not data.endswith(b"\n"):
                data += control.recv(MAX_MESSAGE_BYTES)
            if data:
                yield json.loads(data), numbers
                continue
        return


def _forked(
    children: set[int], control: socket.socket, request: dict[str, Any], numbers: list[int]
) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        children.add(pid)
        for number in numbers:
            os.close(number)
        return pid
    try:
        control.close()
        os.close(sys.stdin.fileno())
        _end_with(parent)
        file, connection = numbers
        child.run(socket.socket(fileno=connection), file, request)
    except ConnectionError:  # the worker needs no other page
        pass
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(0)  # nothing of the parent may run here


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def _ended(children: set[int], pid: int) -> dict[str, int]:
    if pid not in children:
        return {"status": 0, "peak_bytes": 0}
    os.kill(pid, signal.SIGKILL)  # without an effect if it has ended
    _, status, usage = os.wait4(pid, 0)
    children.remove(pid)
    return {"status": status, "peak_bytes": usage.ru_maxrss * 1024}


if __name__ == "__main__":
    main()
