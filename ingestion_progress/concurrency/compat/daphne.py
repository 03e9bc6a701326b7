"""Daphne, and Twisted below it: the request line before the body, and the HTTP factory."""

from typing import Any

from daphne.http_protocol import HTTPFactory
from daphne.server import Server


def request_line(channel: Any) -> tuple[bytes, bytes]:
    """The method and the target of the request whose headers an HTTPChannel has just received."""
    return channel._command, channel._path  # noqa: SLF001


class CustomFactoryServer(Server):
    """`Server.run` assigns an HTTPFactory; an instance of `factory_class` replaces it."""

    factory_class = HTTPFactory

    @property
    def http_factory(self) -> HTTPFactory:
        return self._http_factory

    @http_factory.setter
    def http_factory(self, factory: HTTPFactory) -> None:
        self._http_factory = self.factory_class(factory.server)
