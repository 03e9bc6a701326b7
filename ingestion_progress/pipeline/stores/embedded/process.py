"""The process that holds a folder of Qdrant Edge open: `python -m …embedded.process FOLDER`.

Prints one line when it can be used: {"result": "ready"}, or an error as of a request, of the kind
"taken" if another process has the folder. Each line of a connection is a request in JSON, and gets
a line as its answer (`index.py`). The process ends when it has had no connection for a while, at
SIGTERM, and if Edge fails in an unknown way.
"""

import contextlib
import fcntl
import json
import os
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ingestion_progress.pipeline.stores.embedded.files import LOCK_NAME, LOG_NAME, SOCKET_NAME
from ingestion_progress.pipeline.stores.embedded.index import Index, described

LINGER_SECONDS = 1.0
CHECK_SECONDS = 0.25
END_SECONDS = 5.0


class Connection(socketserver.StreamRequestHandler):
    server: "Server"

    def handle(self) -> None:
        # The client has waited long enough, or the server ends: the client tries again.
        with contextlib.suppress(ConnectionError):
            for line in self.rfile:
                with self.server.answering():
                    answer = self.server.index.answer(line)
                    self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, index: Index) -> None:
        # Relative, because the path of a socket has at most some 100 bytes.
        Path(SOCKET_NAME).unlink(missing_ok=True)
        super().__init__(SOCKET_NAME, Connection)
        self.index = index
        self._counting = threading.Lock()
        self._connections = self._answering = 0
        self._is_ending = False
        self._unused_since = time.monotonic()

    def process_request(self, request: object, client_address: object) -> None:
        with self._counting:
            self._connections += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: object) -> None:
        super().shutdown_request(request)  # type: ignore[arg-type]
        with self._counting:
            self._connections -= 1
            self._unused_since = time.monotonic()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        with self._counting:
            if self._is_ending:
                raise ConnectionAbortedError
            self._answering += 1
        try:
            yield
        finally:
            with self._counting:
                self._answering -= 1

    @property
    def is_unused(self) -> bool:
        with self._counting:
            is_left = time.monotonic() > self._unused_since + LINGER_SECONDS
            return is_left and not self._connections

    def finish(self) -> None:
        """Waits for the requests that are being answered, and answers no other."""
        until = time.monotonic() + END_SECONDS
        self._is_ending = True
        while time.monotonic() < until:
            with self._counting:
                if not self._answering:
                    return
            time.sleep(0.01)


def main(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        lock = os.open(LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)  # until the process ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _print({"error": {"kind": "taken"}})
            return
        if os.fork():  # its parent waits for the first process only
            return
        index = Index(folder)
        server = Server(index)
    except OSError as error:
        _print({"error": described(error)})
        return
    _print({"result": "ready"})
    _detach()
    _serve(server, index)


def _serve(server: Server, index: Index) -> None:
    is_ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_ended.set())
    threading.Thread(target=server.serve_forever, args=[CHECK_SECONDS], daemon=True).start()
    while not (is_ended.wait(CHECK_SECONDS) or index.is_broken.is_set() or server.is_unused):
        index.flush_if_due()
    server.shutdown()
    Path(SOCKET_NAME).unlink(missing_ok=True)
    server.finish()
    if index.is_broken.is_set():
        os._exit(1)  # closing it might wait for ever
    index.close()
    server.server_close()


def _detach() -> None:
    """Leaves the output of the process that started this one."""
    with Path(LOG_NAME).open("w") as log, Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())


def _print(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
