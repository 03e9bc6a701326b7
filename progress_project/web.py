"""Daphne as this project starts it: `python -m progress_project.web`, with Daphne's arguments.

Twisted parses every form before an application sees it, and keeps
the whole of it in memory several times over: an upload of 200 MB took 2.4 GB, and 0.2 GB when
the form is left to Django.
"""

from __future__ import annotations

from typing import Any

from daphne.cli import CommandLineInterface
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server


class UnparsedRequest(WebRequest):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)


class UnparsedFactory(HTTPFactory):
    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802  (Twisted's name)
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = UnparsedRequest
        return protocol


class UnparsedServer(Server):
    """`run` makes a factory of Daphne's and assigns it; ours takes its place.

    Its access log, which `-v 0` turns off, has no query strings: that is where tokens travel.
    """

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
