"""The addresses on the way to the application: the public one, and those behind it."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from django.urls import get_script_prefix, reverse

CONNECT_SECONDS = 10.0


class InvalidAddress(ValueError):
    """Its text says what is wrong with the address."""


@dataclass(frozen=True, kw_only=True)
class Hop:
    url: str
    """As it was given, without a slash at its end."""
    is_tls: bool
    host: str
    port: int
    prefix: str
    """Path below which the site lies; empty at the root."""
    is_public: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    """What a proxy in front would add."""

    def connection(self, *, idle_seconds: float) -> http.client.HTTPConnection:
        """Not yet open. Speaks HTTP/1.1, which shows each piece as it comes."""
        if not self.is_tls:
            return http.client.HTTPConnection(self.host, self.port, timeout=idle_seconds)
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return http.client.HTTPSConnection(
            self.host, self.port, timeout=idle_seconds, context=context
        )

    def alpn_choice(self) -> str:
        """Of HTTP/2 and HTTP/1.1 what the hop would rather speak. Raises OSError."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection((self.host, self.port), CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=self.host) as secured,
        ):
            return secured.selected_alpn_protocol() or "http/1.1"

    def stream_path(self, job_id: str) -> str:
        # The address says where the site lies, so the path that the settings have for it goes.
        path = reverse("ingestion_progress:job_progress", args=[job_id])
        return f"{self.prefix}/{path.removeprefix(get_script_prefix())}"

    @property
    def url_without_mount(self) -> str:
        """The address to give instead where this one ends with the path that the project's URLconf
        has for the app, which `stream_path` adds; empty where it does not.
        """
        mount = mount_path()
        if not mount or not self.prefix.endswith(f"/{mount}"):
            return ""
        return self.url.removesuffix(f"/{mount}")

    def snapshot_path(self, job_id: str) -> str:
        return self.stream_path(job_id).removesuffix("progress") + "snapshot"


def mount_path() -> str:
    """Where the URLconf has the app, without slashes around it; empty at the root."""
    root = reverse("ingestion_progress:job_list")
    return root.removeprefix(get_script_prefix()).strip("/")


def public_hop(url: str) -> Hop:
    """Raises InvalidAddress."""
    return _parse(url)


def hop_behind(url: str, front: Hop) -> Hop:
    """A hop that is asked as the proxy in front of it would ask. Raises InvalidAddress."""
    parsed = _parse(url)
    scheme = "https" if front.is_tls else "http"
    has_usual_port = front.port == (443 if front.is_tls else 80)
    name = f"[{front.host}]" if ":" in front.host else front.host
    headers = {
        "Host": name if has_usual_port else f"{name}:{front.port}",
        "X-Forwarded-Proto": scheme,
    }
    fields = {name: getattr(parsed, name) for name in ("url", "is_tls", "host", "port", "prefix")}
    return Hop(**fields, is_public=False, headers=headers)


def _parse(url: str) -> Hop:
    example = "https://progress.example.org"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidAddress(f"{url!r} is not an address: {error}.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidAddress(f"{url!r} is not an address such as {example}.")
    if parts.query or parts.fragment or "/api/v1/" in parts.path or parts.username is not None:
        raise InvalidAddress(f"{url!r} is more than the address of the site, such as {example}.")
    is_tls = parts.scheme == "https"
    prefix = quote(parts.path.rstrip("/"), safe="/%")
    return Hop(
        url=url.rstrip("/"),
        is_tls=is_tls,
        host=parts.hostname,
        port=port or (443 if is_tls else 80),
        prefix=prefix,
    )
