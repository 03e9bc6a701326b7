"""The addresses to check: the public one of the site, and those behind it."""

import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlsplit

from django.core.management.base import CommandError
from django.urls import get_script_prefix, reverse

CONNECT_SECONDS = 10.0
EXAMPLE = "https://progress.example.org"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    url: str
    """The address as given, without a trailing slash."""
    is_tls: bool
    host: str
    port: int
    prefix: str
    """Path of the site on its host, without a trailing slash."""
    is_public: bool
    headers: dict[str, str]
    """What the proxy in front adds to a request."""

    @classmethod
    def parse(cls, url: str, *, front: Self | None = None) -> Self:
        """`front` is the public endpoint if this one is behind it. Raises CommandError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise CommandError(f"{url!r} is not an address: {error}.") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CommandError(f"{url!r} is not an address such as {EXAMPLE}.")
        if parts.query or parts.fragment or "/api/v1/" in parts.path or parts.username is not None:
            raise CommandError(f"{url!r} is more than the address of the site, such as {EXAMPLE}.")
        is_tls = parts.scheme == "https"
        return cls(
            url=url.rstrip("/"),
            is_tls=is_tls,
            host=parts.hostname,
            port=port or (443 if is_tls else 80),
            prefix=quote(parts.path.rstrip("/"), safe="/%"),
            is_public=front is None,
            headers=front.forwarded_headers if front else {},
        )

    @property
    def forwarded_headers(self) -> dict[str, str]:
        """What a proxy at this address sends to the server behind it."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        host = name if self.port == (443 if self.is_tls else 80) else f"{name}:{self.port}"
        return {"Host": host, "X-Forwarded-Proto": "https" if self.is_tls else "http"}

    def connection(self, *, idle_seconds: float) -> http.client.HTTPConnection:
        """A connection, not open yet. It is HTTP/1.1, whose chunks can be read as they arrive."""
        if not self.is_tls:
            return http.client.HTTPConnection(self.host, self.port, timeout=idle_seconds)
        return http.client.HTTPSConnection(
            self.host, self.port, timeout=idle_seconds, context=_tls_context("http/1.1")
        )

    def preferred_protocol(self) -> str:
        """`h2` or `http/1.1`, as negotiated over TLS. Raises OSError."""
        with (
            socket.create_connection((self.host, self.port), CONNECT_SECONDS) as plain,
            _tls_context("h2", "http/1.1").wrap_socket(plain, server_hostname=self.host) as tls,
        ):
            return tls.selected_alpn_protocol() or "http/1.1"

    def stream_path(self, job_id: str) -> str:
        # `prefix` replaces FORCE_SCRIPT_NAME.
        path = reverse("ingestion_progress:job_progress", args=[job_id])
        return f"{self.prefix}/{path.removeprefix(get_script_prefix())}"

    @property
    def repeated_mount(self) -> str:
        """The app's path in the URLconf, if `url` ends with it: `stream_path` adds it again."""
        mount = reverse("ingestion_progress:job_list").removeprefix(get_script_prefix()).strip("/")
        return mount if mount and self.prefix.endswith(f"/{mount}") else ""


def _tls_context(*protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(list(protocols))
    return context
