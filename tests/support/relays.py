"""A proxy in front of a server, which responds while the server is replaced."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Relay:
    """Forwards connections; while the server is down each request gets a 503."""

    listener: socket.socket
    server: tuple[str, int]
    is_away: bool = False
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

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self.serve, args=[client], daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self.is_away:
                if client.recv(65536):  # a browser also connects without a request
                    self.refused_count += 1
                    client.sendall(UNAVAILABLE)
                return
            with socket.create_connection(self.server) as server:
                self.connections += [client, server]
                pass_on(client, server)


def pass_on(one: socket.socket, other: socket.socket) -> None:
    """Forwards bytes until one side has ended."""
    to = {one: other, other: one}
    while True:
        for ready in select.select([one, other], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            to[ready].sendall(data)


@contextmanager
def relay_to(url: str) -> Iterator[Relay]:
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(listener, (address.hostname, address.port))
        threading.Thread(target=relay.accept, daemon=True).start()
        yield relay
        listener.shutdown(socket.SHUT_RDWR)
        relay.take_away()
