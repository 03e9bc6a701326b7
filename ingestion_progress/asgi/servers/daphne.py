"""Daphne, as it should be started, with its own arguments:

    python -m ingestion_progress.asgi.servers.daphne …

Twisted parses every form before an application sees it, and keeps
the whole of it in memory several times over: an upload of 200 MB took 2.4 GB, and 0.2 GB when
the form is left to Django. It also stores every body before an application sees the request, and
gives the head of one as long as bytes of it come.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import unquote

from daphne.cli import CommandLineInterface
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from django.conf import settings
from twisted.web.http import HTTPChannel

from ingestion_progress.asgi import BodyLimit
from ingestion_progress.exceptions import ErrorCode

# As many as uvicorn has; the kernel's own limit is net.core.somaxconn, 4096 on Linux.
BACKLOG = 2048
# For the head of a request, and between two pieces of its body. granian's is the same.
PATIENCE_SECONDS = 30


class Channel(HTTPChannel):
    """A connection, by HTTP/1.1: HTTP/2 is for the proxy. Bytes of a request's head do not
    prolong the time that there is for it.
    """

    _is_in_body = False

    def resetTimeout(self) -> None:  # noqa: N802  (Twisted's name)
        if self._is_in_body:
            super().resetTimeout()  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:  # noqa: N802  (Twisted's name)
        self._is_in_body = True
        self.resetTimeout()
        super().allHeadersReceived()  # type: ignore[no-untyped-call]
        if self.length != 0:
            self.requests[-1].ask_first(self._command, self._path)

    def allContentReceived(self) -> None:  # noqa: N802  (Twisted's name)
        self._is_in_body = False
        super().allContentReceived()  # type: ignore[no-untyped-call]


class Request(WebRequest):
    """Leaves forms to Django, and keeps nothing of a body that may not come."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)
        self._room_bytes = sys.maxsize

    def gotLength(self, length: int | None) -> None:  # noqa: N802  (Twisted's name)
        # As Django's handler has it; a file of Twisted's is on the disk from 100 kB on.
        in_memory_bytes = settings.FILE_UPLOAD_MAX_MEMORY_SIZE + 1
        self.content = SpooledTemporaryFile(in_memory_bytes)  # noqa: SIM115  (closed with us)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  (Twisted's name)
        super().handleContentChunk(data[: self._room_bytes])
        self._room_bytes -= min(self._room_bytes, len(data))

    def ask_first(self, method: bytes, target: bytes) -> None:
        """Whether its sender may start jobs, before an upload is stored: the connection is not read
        meanwhile. Where the answer is no, `BodyLimit` gives it once the body is over.
        """
        limit = self.server.application
        if not isinstance(limit, BodyLimit):
            return
        scope = self._scope(method, target)
        declared = limit.declared_body(scope)
        # One byte more than the body may have shows `BodyLimit` that it was too long. Where the
        # header says so, nothing has to be kept.
        self._room_bytes = 0 if declared.error is ErrorCode.TOO_LARGE else declared.limit_bytes + 1
        if self._room_bytes and declared.needs_check:
            self.channel.pauseProducing()
            self._asking = asyncio.ensure_future(self._ask(limit.refusal(scope, declared)))

    async def _ask(self, refusal: Awaitable[object]) -> None:
        may_come = False
        try:
            may_come = await refusal is None
        finally:
            if not may_come:
                self._room_bytes = 0
                self.content.seek(0)
                self.content.truncate()
            self.channel.resumeProducing()

    def _scope(self, method: bytes, target: bytes) -> dict[str, Any]:
        """What ASGI says of the request, as far as it is known from its head."""
        path, _, query = target.partition(b"?")
        return {
            "type": "http",
            "http_version": "1.1",
            "method": method.decode("latin1"),
            "path": unquote(path.decode("latin1")),
            "root_path": self.server.root_path,
            "scheme": "https" if self.isSecure() else "http",
            "query_string": query,
            "headers": [
                (name.lower(), value)
                for name, values in self.requestHeaders.getAllRawHeaders()
                for value in values
                if b"_" not in name
            ],
            "client": _host_and_port(self.getClientAddress()),
            "server": _host_and_port(self.getHost()),
        }


def _host_and_port(address: Any) -> list[Any] | None:
    """None: it is that of a Unix socket."""
    return [address.host, address.port] if hasattr(address, "port") else None


class Factory(HTTPFactory):
    protocol = Channel

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802  (Twisted's name)
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        protocol.timeOut = PATIENCE_SECONDS
        return protocol

    def acceptableProtocols(self) -> list[bytes]:  # noqa: N802  (Twisted's name)
        return [b"http/1.1"]


class WebServer(Server):
    """`run` makes a factory of Daphne's and assigns it; ours takes its place.

    Twisted lets 50 connections wait to be accepted, and the kernel drops the rest: of 2,000 that
    came at once the last took 30 s.

    Its access log, which `-v 0` turns off, has no query strings: that is where tokens travel.
    """

    def __init__(self, *args: Any, endpoints: list[str], **kwargs: Any) -> None:
        waiting = [
            f"{endpoint}:backlog={BACKLOG}" if "backlog=" not in endpoint else endpoint
            for endpoint in endpoints
        ]
        super().__init__(*args, endpoints=waiting, **kwargs)

    def log_action(self, protocol: Any, action: str, details: dict[str, Any]) -> None:
        if "path" in details:
            details = details | {"path": details["path"].partition("?")[0]}
        super().log_action(protocol, action, details)

    @property
    def http_factory(self) -> HTTPFactory:
        return self._http_factory

    @http_factory.setter
    def http_factory(self, factory: HTTPFactory) -> None:
        self._http_factory = Factory(factory.server)


class WebCommand(CommandLineInterface):
    server_class = WebServer


if __name__ == "__main__":
    WebCommand.entrypoint()
