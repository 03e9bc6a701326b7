"""Starts daphne, with daphne's own arguments:

    python -m ingestion_progress.asgi.servers.daphne …

Twisted parses every form before the application sees the request, and holds it in memory several
times: an upload of 200 MB took 2.4 GB, and 0.2 GB where Django parses the form. Twisted also stores
every body first, and has no limit for the time in which headers arrive. Here the permission check
of an upload runs before its body is read, and headers have a time-out.
"""

import asyncio
import sys
from collections.abc import Awaitable
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import unquote

from daphne.cli import CommandLineInterface
from daphne.http_protocol import HTTPFactory, WebRequest
from django.conf import settings
from twisted.web.http import HTTPChannel

from ingestion_progress.asgi import BodyLimit
from ingestion_progress.concurrency.compat.daphne import CustomFactoryServer, request_line
from ingestion_progress.exceptions import ErrorCode

# The same as uvicorn's; the kernel's limit is net.core.somaxconn, 4096 on Linux. With Twisted's 50
# the kernel drops connections: the last of 2,000 simultaneous ones took 30 s.
BACKLOG = 2048
# The time for the headers of a request, and between two parts of its body, as in granian.
TIMEOUT_SECONDS = 30


class Channel(HTTPChannel):
    """An HTTP/1.1 connection whose time-out for headers is not extended by each byte."""

    _is_in_body = False

    def resetTimeout(self) -> None:  # noqa: N802  (Twisted's name)
        if self._is_in_body:
            super().resetTimeout()  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:  # noqa: N802  (Twisted's name)
        self._is_in_body = True
        self.resetTimeout()
        super().allHeadersReceived()  # type: ignore[no-untyped-call]
        if self.length != 0:
            self.requests[-1].check_before_body(*request_line(self))

    def allContentReceived(self) -> None:  # noqa: N802  (Twisted's name)
        self._is_in_body = False
        super().allContentReceived()  # type: ignore[no-untyped-call]


class Request(WebRequest):
    """Leaves forms to Django, and discards bodies that are too large or not permitted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)
        self._free_bytes = sys.maxsize

    def gotLength(self, length: int | None) -> None:  # noqa: N802  (Twisted's name)
        # As in Django's handler; Twisted's own limit is 100 kB.
        in_memory_bytes = settings.FILE_UPLOAD_MAX_MEMORY_SIZE + 1
        self.content = SpooledTemporaryFile(in_memory_bytes)  # noqa: SIM115  (closed with the request)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  (Twisted's name)
        super().handleContentChunk(data[: self._free_bytes])
        self._free_bytes -= min(self._free_bytes, len(data))

    def check_before_body(self, method: bytes, target: bytes) -> None:
        """Runs the permission check of an upload before its body is read. After a refusal the body
        is discarded, and `BodyLimit` responds at its end.
        """
        limit = self.server.application
        if not isinstance(limit, BodyLimit):
            return
        scope = self._scope(method, target)
        declared = limit.declared_body(scope)
        # One byte above the limit shows `BodyLimit` that the body was too long. If the header shows
        # it already, no byte is needed.
        self._free_bytes = 0 if declared.error is ErrorCode.TOO_LARGE else declared.limit_bytes + 1
        if self._free_bytes and declared.needs_check:
            self.channel.pauseProducing()
            self._check = asyncio.ensure_future(self._run_check(limit.refusal(scope, declared)))

    async def _run_check(self, refusal: Awaitable[object]) -> None:
        is_permitted = False
        try:
            is_permitted = await refusal is None
        finally:
            if not is_permitted:
                self._free_bytes = 0
                self.content.seek(0)
                self.content.truncate()
            self.channel.resumeProducing()

    def _scope(self, method: bytes, target: bytes) -> dict[str, Any]:
        """The ASGI scope, as far as the headers show it."""
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
    """None for a Unix socket."""
    return [address.host, address.port] if hasattr(address, "port") else None


class Factory(HTTPFactory):
    """Accepts HTTP/1.1 only; a proxy in front may offer HTTP/2."""

    protocol = Channel

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802  (Twisted's name)
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        protocol.timeOut = TIMEOUT_SECONDS
        return protocol

    def acceptableProtocols(self) -> list[bytes]:  # noqa: N802  (Twisted's name)
        return [b"http/1.1"]


class WebServer(CustomFactoryServer):
    """Its access log, which `-v 0` turns off, leaves out query strings: they may hold tokens."""

    factory_class = Factory

    def __init__(self, *args: Any, endpoints: list[str], **kwargs: Any) -> None:
        endpoints = [
            f"{endpoint}:backlog={BACKLOG}" if "backlog=" not in endpoint else endpoint
            for endpoint in endpoints
        ]
        super().__init__(*args, endpoints=endpoints, **kwargs)

    def log_action(self, protocol: Any, action: str, details: dict[str, Any]) -> None:
        if "path" in details:
            details = details | {"path": details["path"].partition("?")[0]}
        super().log_action(protocol, action, details)


class WebCommand(CommandLineInterface):
    server_class = WebServer


if __name__ == "__main__":
    WebCommand.entrypoint()
