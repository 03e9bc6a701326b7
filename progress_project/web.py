"""Daphne as this project starts it: `python -m progress_project.web`, with Daphne's arguments.

Twisted parses every form before an application sees it, and keeps
the whole of it in memory several times over: an upload of 200 MB took 2.4 GB, and 0.2 GB when
the form is left to Django. It also stores every body before an application sees the request.
"""

from __future__ import annotations

from typing import Any

from daphne.cli import CommandLineInterface
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server

from ingestion_progress.asgi import other_limit_bytes, upload_limit_bytes

# As many as uvicorn has; the kernel's own limit is net.core.somaxconn, 4096 on Linux.
BACKLOG = 2048


class UnparsedRequest(WebRequest):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)
        self._room_bytes = 0

    def gotLength(self, length: int | None) -> None:  # noqa: N802  (Twisted's name)
        super().gotLength(length)
        limit_bytes = max(upload_limit_bytes(), other_limit_bytes())
        # One byte more than any body may have shows `BodyLimit` that it was too long. Where the
        # header says so, nothing has to be kept.
        self._room_bytes = limit_bytes + 1 if (length or 0) <= limit_bytes else 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  (Twisted's name)
        super().handleContentChunk(data[: self._room_bytes])
        self._room_bytes -= min(self._room_bytes, len(data))


class UnparsedFactory(HTTPFactory):
    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802  (Twisted's name)
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = UnparsedRequest
        return protocol


class UnparsedServer(Server):
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
        self._http_factory = UnparsedFactory(factory.server)


class WebCommand(CommandLineInterface):
    server_class = UnparsedServer


if __name__ == "__main__":
    WebCommand.entrypoint()
