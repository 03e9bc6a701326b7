"""Proxies in front of a server that is replaced, or a database that goes silent."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

SOCKET_NAME = ".s.PGSQL.5432"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def accept(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    """Serves each connection in a thread until the listener is closed."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed
            return
        threading.Thread(target=serve, args=[client], daemon=True).start()


@dataclass
class Relay:
    """Forwards connections; while the server is down each request gets a 503."""

    listener: socket.socket
    server: tuple[str, int]
    is_away: bool = False
    is_frozen: bool = False
    """All packets are lost, and no connection ends."""
    refused_count: int = 0
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def take_away(self) -> None:
        """Acts as if the server is stopped: open connections end, idle ones as well."""
        self.is_away = True
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def bring_back(self) -> None:
        self.is_away = False

    def serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self.is_away:
                if client.recv(65536):  # a browser also connects without a request
                    self.refused_count += 1
                    client.sendall(UNAVAILABLE)
                return
            with socket.create_connection(self.server) as server:
                self.connections += [client, server]
                self.pass_on(client, server)

    def pass_on(self, one: socket.socket, other: socket.socket) -> None:
        """Forwards bytes until one side has ended."""
        to = {one: other, other: one}
        while True:
            for ready in select.select([one, other], [], [])[0]:
                data = ready.recv(65536)
                if not data:
                    return
                if not self.is_frozen:
                    to[ready].sendall(data)


@contextmanager
def relay_to(url: str) -> Iterator[Relay]:
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(listener, (address.hostname, address.port))
        threading.Thread(target=accept, args=[relay.listener, relay.serve], daemon=True).start()
        yield relay
        listener.shutdown(socket.SHUT_RDWR)
        relay.take_away()


@dataclass
class SilentRelay:
    """Forwards connections to a PostgreSQL on a Unix socket, until it loses all packets."""

    listener: socket.socket
    server: str
    is_losing: bool = False
    is_silent: bool = False

    def lose_packets(self) -> None:
        """Begins when a writer locks a row, so that no COMMIT is without an answer."""
        self.is_losing = True

    def recover(self) -> None:
        """For new connections; those that lost packets stay silent."""
        self.is_losing = self.is_silent = False

    def serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self.server)
            to, is_lost = {client: server, server: client}, False
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    self.is_silent |= self.is_losing and b"FOR UPDATE" in data
                    is_lost |= self.is_silent
                    if not is_lost:
                        to[ready].sendall(data)


@contextmanager
def silent_relay_to(folder: Path) -> Iterator[tuple[SilentRelay, Path]]:
    """A relay to the server whose sockets are in that folder, and the folder of its own."""
    own = Path(tempfile.mkdtemp(prefix="relay-"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(own / SOCKET_NAME))
        listener.listen(100)
        relay = SilentRelay(listener, str(folder / SOCKET_NAME))
        threading.Thread(target=accept, args=[relay.listener, relay.serve], daemon=True).start()
        yield relay, own
        listener.shutdown(socket.SHUT_RDWR)
    shutil.rmtree(own)
