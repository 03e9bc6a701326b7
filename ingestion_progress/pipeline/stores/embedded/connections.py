"""The connections of this process to the one that holds the folder, which it starts if necessary.

All requests can be repeated, so a request whose answer did not arrive is sent again.
"""

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ingestion_progress.concurrency.python_process import start_python
from ingestion_progress.pipeline.stores.embedded.files import SOCKET_NAME

PROCESS = "ingestion_progress.pipeline.stores.embedded.process"
# The longest path of a Unix socket; macOS allows 104 bytes.
MAX_PATH_BYTES = 100
RETRY_SECONDS = 0.02
# A request that ends this many processes is the cause, or the disk is.
MAX_CRASHES = 3
RECEIVE_BYTES = 1 << 20

_of_folders: dict[Path, "Connections"] = {}


class ProcessUnavailable(Exception):
    """Nothing can serve the folder; `error` is that of an answer."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.error = error


class Connections:
    """Thread-safe. Keeps unused connections open: the process at their other end ends with them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unused: list[socket.socket] = []
        self._starting = threading.Lock()

    def ask(self, request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
        """The answer, as in `index.py`.

        Raises TimeoutError, ConnectionError if the process crashes at this request again and again,
        ProcessUnavailable, and other OSErrors.
        """
        until = time.monotonic() + timeout_seconds
        # Half of a surrogate pair, of a damaged document, is not UTF-8.
        line = json.dumps(request, ensure_ascii=False).encode(errors="replace") + b"\n"
        crashes = 0
        while True:
            connection, is_new = self._connection(until)
            try:
                answer = _exchanged(connection, line, until)
            except ConnectionError:
                connection.close()
                crashes += is_new  # another process may have ended long ago
                if crashes == MAX_CRASHES:
                    raise
            except BaseException:
                connection.close()
                raise
            else:
                self._unused.append(connection)
                if answer.get("error", {}).get("kind") != "gone":
                    return answer
                self.close()

    def close(self) -> None:
        """Closes the unused connections. A later request makes new ones."""
        while self._unused:
            self._unused.pop().close()

    def _connection(self, until: float) -> tuple[socket.socket, bool]:
        """A connection, and whether it is new."""
        try:
            return self._unused.pop(), False
        except IndexError:
            pass
        while True:
            if (connection := _connected(self._folder, until)) is not None:
                return connection, True
            with self._starting:
                connection = _connected(self._folder, until)  # has another thread started it?
                if connection is not None:
                    return connection, True
                _start(self._folder, until)
            time.sleep(RETRY_SECONDS)


def connections(folder: Path) -> Connections:
    """The connections of this process to the folder."""
    folder = folder.resolve()
    return _of_folders.setdefault(folder, Connections(folder))


@atexit.register
def close_all() -> None:
    for each in list(_of_folders.values()):
        each.close()


def _forget() -> None:
    """A forked process has copies of the connections, which it must not use."""
    close_all()
    _of_folders.clear()


os.register_at_fork(after_in_child=_forget)


def _left(until: float) -> float:
    """Seconds. Raises TimeoutError if there are none."""
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _connected(folder: Path, until: float) -> socket.socket | None:
    """None if nothing listens."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_left(until))
        _connect(connection, folder / SOCKET_NAME)
    except (FileNotFoundError, NotADirectoryError, ConnectionError, BlockingIOError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(connection: socket.socket, path: Path) -> None:
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        connection.connect(str(path))
        return
    if sys.platform != "linux":
        raise ProcessUnavailable({"kind": "long"})
    parent = os.open(path.parent, os.O_PATH)
    try:
        connection.connect(f"/proc/self/fd/{parent}/{path.name}")
    finally:
        os.close(parent)


def _exchanged(connection: socket.socket, line: bytes, until: float) -> dict[str, Any]:
    connection.settimeout(_left(until))
    connection.sendall(line)
    parts: list[bytes] = []
    while not parts or not parts[-1].endswith(b"\n"):
        connection.settimeout(_left(until))
        parts.append(connection.recv(RECEIVE_BYTES))
        if not parts[-1]:
            raise ConnectionResetError
    answer: dict[str, Any] = json.loads(b"".join(parts))
    return answer


def _start(folder: Path, until: float) -> None:
    """Returns when a process serves the folder, or another one has it.

    Raises ProcessUnavailable and TimeoutError.
    """
    process = start_python(
        PROCESS,
        str(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:  # it ends at once, and leaves its child
        output = process.stdout
        if output is None or not select.select([output], [], [], _left(until))[0]:
            process.kill()
            raise TimeoutError
        line = output.readline()
    # Without a line and without a failure it was killed, and the caller tries again.
    failed = {"kind": "not_started"} if process.returncode > 0 else None
    error = json.loads(line).get("error") if line else failed
    if error and error["kind"] != "taken":
        raise ProcessUnavailable(error)
