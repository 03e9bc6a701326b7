"""What ASGI hands around: a request's scope, and the ways to and from its client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

WRITE = "ingestion_progress.write"
"""In the `extensions` of a scope, where a server offers it: a function that writes a part of a body
that has begun, which many responses have in common, for less than `send` would.
"""
Write: TypeAlias = Callable[[bytes], bool]
"""False: it has written nothing, for it has to wait for the client; `send` does that."""


def may_have_body(scope: Scope) -> bool:
    """Do its headers say so, or leave it open?"""
    if not scope.get("http_version", "1.1").startswith("1"):
        return True  # HTTP/2 frames bodies without a header that announces them
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
        for name, value in scope["headers"]
    )
