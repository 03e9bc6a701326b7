"""This process's connections: to its parser process, and to the children that read documents."""

import atexit
import contextlib
import json
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from ingestion_progress.concurrency.python_process import start_python
from ingestion_progress.concurrency.thread_pool import CHECK_SECONDS
from ingestion_progress.pipeline.exceptions import ParserUnavailable

MODULE = "ingestion_progress.pipeline.parser_process.process"
RECEIVE_BYTES = 1 << 20
# Loading the parsers, or an answer, takes longer only on a host that has stopped working.
ANSWER_SECONDS = 60.0


class ParserProcess:
    """A running parser process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(ANSWER_SECONDS)
        with theirs:
            self._process = start_python(MODULE, stdin=theirs, stdout=subprocess.DEVNULL)
        self.has_ended = False

    def fork(self, file_number: int, request: dict[str, Any]) -> "Child":
        """A child that reads this open file. Raises ParserUnavailable."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                answer = self._ask(request, [file_number, theirs.fileno()])
            except BaseException:
                ours.close()
                raise
        return Child(self, answer["pid"], ours)

    def end(self, pid: int) -> dict[str, int]:
        """Kills a child: `status` and `peak_bytes`. Raises ParserUnavailable."""
        return self._ask({"end": pid}, [])

    def close(self) -> None:
        """Its children end too."""
        self.has_ended = True
        self._control.close()
        self._process.wait()

    def forget(self) -> None:
        """Closes the connection in a process that was forked from this one."""
        self._control.close()

    def _ask(self, request: dict[str, Any], file_numbers: list[int]) -> dict[str, Any]:
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            try:
                socket.send_fds(self._control, [line], file_numbers)
                answer: dict[str, Any] = json.loads(self._line())
            except (OSError, ValueError) as error:
                self.close()
                raise ParserUnavailable from error
            except BaseException:  # of a signal: the answer would be taken for that of the next one
                self.close()
                raise
        return answer

    def _line(self) -> bytes:
        """A part of one if the process has ended."""
        received = b""
        while not received.endswith(b"\n") and (part := self._control.recv(RECEIVE_BYTES)):
            received += part
        return received


class ChildEnded(Exception):
    """Without an answer. `status` and `peak_bytes` are those of `os.wait4`."""

    def __init__(self, status: int, peak_bytes: int) -> None:
        super().__init__(status, peak_bytes)
        self.status, self.peak_bytes = status, peak_bytes


class Child:
    """A process that reads one document."""

    def __init__(self, process: ParserProcess, pid: int, connection: socket.socket) -> None:
        self._process, self._pid, self._connection = process, pid, connection
        self._received = b""

    def send(self, *numbers: int) -> None:
        with contextlib.suppress(ConnectionError):  # then there is no answer either
            self._connection.sendall(f"{' '.join(map(str, numbers))}\n".encode())

    def receive(self, seconds: float, check: Callable[[], None]) -> dict[str, Any]:
        """The next line. Calls `check` meanwhile.

        Raises TimeoutError, ChildEnded, or ParserUnavailable if the parser process has ended too.
        """
        until = time.monotonic() + seconds
        parts = [self._received]
        while b"\n" not in parts[-1]:
            while not select.select([self._connection], [], [], CHECK_SECONDS)[0]:
                check()
                if time.monotonic() > until:
                    raise TimeoutError
            parts.append(self._part())
        line, _, self._received = b"".join(parts).partition(b"\n")
        fields: dict[str, Any] = json.loads(line)
        return fields

    def end(self) -> dict[str, int]:
        """Kills it. Raises ParserUnavailable."""
        self._connection.close()
        return self._process.end(self._pid)

    def _part(self) -> bytes:
        part = b""
        with contextlib.suppress(ConnectionError):
            part = self._connection.recv(RECEIVE_BYTES)
        if not part:
            raise ChildEnded(**self.end())
        return part


_starting = threading.Lock()
_current: ParserProcess | None = None


def parser_process() -> ParserProcess:
    """Starts one if none is running. It may not be ready yet."""
    global _current  # noqa: PLW0603
    with _starting:
        if _current is None or _current.has_ended:
            _current = ParserProcess()
        return _current


@atexit.register
def _close() -> None:
    if _current and not _current.has_ended:
        _current.close()


def _forget() -> None:
    global _current, _starting  # noqa: PLW0603
    _starting = threading.Lock()
    if _current:
        _current.forget()
    _current = None


os.register_at_fork(after_in_child=_forget)
